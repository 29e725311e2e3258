"""Servers that behave like the real ones, odd sides included, on a free port of the loopback interface."""
