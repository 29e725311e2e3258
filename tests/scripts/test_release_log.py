"""What a person sees of a release's log in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("── macro F1 0.9, label „très bon“ ★ 好", "── macro F1 0.9, label „très bon“ ★ 好"),
        ("one\ttwo\u00a0three", "one\ttwo\u00a0three"),
        ("\x1b[2J\x1b]0;a title\x07", "\\x1b[2J\\x1b]0;a title\\x07"),
        ("label \u202egnp.exe", "label \\u202egnp.exe"),
        ("\x9b31mred \udce9", "\\x9b31mred \\udce9"),
    ],
)
def test_no_word_of_anybody_else_commands_the_terminal(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from release_log import readable

    line = json.dumps({"event": text, "logger": "airflow.task.operators.model_releases.gate", "level": "info"})
    assert list(readable([line])) == [f"   {shown}"]
