"""Reads what people have, checks it, and writes the data set of a release."""
