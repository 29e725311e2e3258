"""Preprocessing in parts: sources are read side by side, and put together as if one process had read them all."""
