"""Triggers whose modules have another name now."""
