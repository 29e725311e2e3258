"""Words of other people at a terminal: labels, texts, paths and messages."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return one line without what a terminal would obey, or what changes the direction of what follows it."""
    return "".join(
        each if each.isprintable() or each in "\t\u00a0" else each.encode("unicode_escape").decode() for each in text
    )
