"""Batch prediction: every row of a table or a folder is scored once, in shards that can be resumed."""
