"""How the bytes of a text file become UTF-8: by its mark, by what it must be, or by what the settings say."""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

#: Bytes at the beginning of a file that are looked at.
SAMPLE_BYTES = 1 << 16
#: Encodings that are named.
_GUESSES = 3
_READ_CHARACTERS = 1 << 16

# The longer marks first: one of UTF-32 begins like one of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LEAST_READABLE = 0.95


def as_utf8(file: IO[bytes], encoding: str | None) -> tuple[IO[bytes], bytes]:
    """Return the file with its text as UTF-8, and the bytes that it begins with as they are.

    Line ends that are a lone carriage return become line feeds. What is not in the file's encoding raises
    :class:`UnicodeDecodeError` when it is read; bytes of a file that is UTF-8 come as they are, right or wrong.

    :param encoding: as the settings name it; ``None``: UTF-8, or UTF-16 and UTF-32 where the file shows it.
    """
    raw: Any = file
    buffered = io.BufferedReader(raw, SAMPLE_BYTES)
    sample = buffered.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    found = encoding or _shown_by(sample)
    found = None if found and codecs.lookup(found).name == "utf-8" else found
    returns = b"\r" in sample and b"\n" not in sample
    if found is None and not returns:
        return buffered, sample
    # The surrogates carry bytes that are not UTF-8 through, for whoever reads the lines to say where they are.
    text = io.TextIOWrapper(
        buffered,
        encoding=found or "utf-8",
        errors="strict" if found else "surrogateescape",
        newline=None if returns else "",
    )
    return io.BufferedReader(_Encoded(text), SAMPLE_BYTES), sample


def guesses(sample: bytes) -> list[tuple[str, float]]:
    """Return encodings that make text of some bytes, the likeliest first, with the share of letters that each reads."""
    from charset_normalizer import from_bytes

    found: dict[str, float] = {}
    for match in from_bytes(sample):
        text = str(match)
        letters = sum(character.isalpha() for character in text) / max(1, sum(not each.isspace() for each in text))
        found.setdefault(match.encoding.replace("_", "-"), letters)
    return list(found.items())[:_GUESSES]


def encoding_remedy(sample: bytes) -> str:
    """Say what to do about bytes that are not UTF-8."""
    likely = ", ".join(f"{name} ({share:.0%} letters)" for name, share in guesses(sample))
    return (
        "Set `encoding` in the model's `data` to that of the file, or save it as UTF-8. By its bytes it may be "
        f"{likely or 'none that is known'}; only who knows the language can tell which of them reads right (`make "
        "preview` shows it)."
    )


def _shown_by(sample: bytes) -> str | None:
    """Return the wide encoding that a mark or zero bytes show, ``None`` for all others."""
    for mark, encoding in _MARKS.items():
        if sample.startswith(mark):
            return encoding
    # A zero byte in a text is what a broken export leaves; in a wide encoding they are many.
    if b"\0" not in sample or _readable(sample, "utf-8") >= _LEAST_READABLE:
        return None
    best = max(_WIDE, key=lambda encoding: _readable(sample, encoding))
    return best if _readable(sample, best) >= _LEAST_READABLE else None


def _readable(sample: bytes, encoding: str) -> float:
    """Return the share of characters that people write in texts."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return 0.0
    return sum(each.isprintable() or each in "\t\r\n" for each in text) / max(1, len(text))


class _Encoded(io.RawIOBase):
    """Text as a stream of UTF-8."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._left = b""

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill as much of the buffer as there is text at hand."""
        if not self._left:
            self._left = self._text.read(_READ_CHARACTERS).encode("utf-8", "surrogateescape")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
