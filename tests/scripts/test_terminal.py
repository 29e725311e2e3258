"""Whatever the terminal shows, printing to it is no error."""

from __future__ import annotations

import io
import locale
import os
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
CARD = "── é ★ \udce9"


@pytest.mark.parametrize(
    ("given", "of_the_locale", "encoding"),
    [
        ("", "UTF-8", "UTF-8"),
        ("", "ISO-8859-1", "ISO-8859-1"),
        ("", "ANSI_X3.4-1968", "utf-8"),
        ("ascii", "UTF-8", "ascii"),
        ("cp1252:strict", "UTF-8", "cp1252"),
    ],
)
def test_what_it_cannot_show_becomes_a_question_mark(
    monkeypatch: pytest.MonkeyPatch, given: str, of_the_locale: str, encoding: str
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from terminal import fit_terminal

    monkeypatch.setenv("PYTHONIOENCODING", given)
    monkeypatch.setattr(locale, "getencoding", lambda: of_the_locale)
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    fit_terminal()
    for stream in streams.values():
        print(CARD, file=stream, flush=True)
        assert stream.buffer.getvalue() == f"{CARD}\n".encode(encoding, "replace")  # type: ignore[attr-defined]
    assert os.environ["PYTHONIOENCODING"] == f"{encoding}:replace", "for what prints at the same terminal"
