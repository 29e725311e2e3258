"""Serves models of any format that is known here on one machine, with KServe's own Python server."""
