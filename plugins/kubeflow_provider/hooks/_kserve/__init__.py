"""What stands behind the ``kserve`` hook."""
