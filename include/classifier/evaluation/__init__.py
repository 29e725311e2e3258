"""Measures the packed model against the live one and a simple baseline."""
