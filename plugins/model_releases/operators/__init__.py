"""The steps of a release, of a way back, and of what looks after releases."""
