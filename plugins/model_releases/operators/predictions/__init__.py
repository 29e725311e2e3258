"""Scores tables with a version of a model."""
