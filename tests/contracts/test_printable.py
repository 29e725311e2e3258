"""No word of anybody else commands the terminal."""

from __future__ import annotations

import pytest

from include.contracts.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("── macro F1 0.9, label „très bon“ ★ 好", "── macro F1 0.9, label „très bon“ ★ 好"),
        ("one\ttwo\u00a0three", "one\ttwo\u00a0three"),
        ("\x1b[2J\x1b]0;a title\x07", "\\x1b[2J\\x1b]0;a title\\x07"),
        ("label \u202egnp.exe", "label \\u202egnp.exe"),
        ("\x9b31mred \udce9", "\\x9b31mred \\udce9"),
        ("a line\r\nanother\u2028", "a line\\r\\nanother\\u2028"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text: str, shown: str) -> None:
    assert printable(text) == shown
