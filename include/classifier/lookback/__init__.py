"""Looks at a release again: trains it once more, or explains an answer of it."""
