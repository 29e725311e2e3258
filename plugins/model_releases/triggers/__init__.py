"""What the steps of a release wait on while deferred."""
