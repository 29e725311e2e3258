"""Takes shell text apart into its commands, as far as documentation uses the shell."""

from __future__ import annotations

#: Stands in a word where the output of a command would be.
OUTPUT = "$()"
_ENDS = "\n;|&"


class UnreadableError(ValueError):
    """Something was opened and never closed."""


def commands(text: str) -> list[list[str]]:
    """Return the words of each command, without quotes and comments; what stands in ``$(…)`` is a command as well.

    :raises UnreadableError: when a quote or a bracket is not closed.
    """
    reader = _Reader(text)
    reader.read()
    return reader.found


class _Reader:
    def __init__(self, text: str) -> None:
        self.found: list[list[str]] = []
        self._text = text
        self._at = 0

    def read(self, end: str = "") -> None:
        """Read commands up to the end of the text, or to the bracket that closes a substitution."""
        words: list[str] = []
        word: str | None = None
        while (char := self._next(end)) != end:
            if self._text.startswith("\\\n", self._at - 1):
                self._at += 1
            elif char == "#" and word is None:
                self._skip_comment()
            elif char in _ENDS or char.isspace():
                words += [] if word is None else [word]
                word = None
                if char in _ENDS:
                    self._keep(words)
                    words = []
            else:
                word = (word or "") + self._piece(char)
        self._keep(words + ([] if word is None else [word]))

    def _piece(self, char: str) -> str:
        """Return what a character stands for, with what belongs to it."""
        if char == "\\":
            return self._next("\\").removeprefix("\n")
        if char == "'":
            return self._until("'", expands=False)
        if char == '"':
            return self._until('"', expands=True)
        return self._substitution() if char == "$" else char

    def _until(self, quote: str, *, expands: bool) -> str:
        found = ""
        while (char := self._next(quote)) != quote:
            found += self._piece(char) if expands and char in "\\$" else char
        return found

    def _substitution(self) -> str:
        if self._text[self._at : self._at + 1] != "(":
            return "$"
        self._at += 1
        self.read(")")
        return OUTPUT

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _keep(self, words: list[str]) -> None:
        if words:
            self.found.append(words)

    def _next(self, end: str) -> str:
        """Return the next character; nothing at the end of the text, where that may come."""
        if self._at >= len(self._text):
            if end:
                raise UnreadableError(f"{end!r} is missing at the end")
            return ""
        self._at += 1
        return self._text[self._at - 1]
