"""A search whose trials are those of a Katib Experiment; docs/katib.md says when, and has the sources."""
