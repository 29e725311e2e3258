"""Where releases are recorded."""
