"""Searches for better settings of a training; docs/search.md says what for and how."""
