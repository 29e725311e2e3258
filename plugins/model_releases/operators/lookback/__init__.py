"""Steps that look back at versions that were released."""
