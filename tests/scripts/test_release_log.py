"""What a person sees of a release's log in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_what_a_release_says_commands_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from release_log import readable

    logger = "airflow.task.operators.model_releases.operators.gate.GateOperator"
    exception = {"exc_type": "DataError", "exc_value": "the label '\x9b31m' is unknown"}
    entry = {"event": "label \x1b[2J très bon\nnext", "logger": logger, "level": "error", "exception": [exception]}
    assert list(readable([json.dumps(entry)])) == [
        "   ERROR: label \\x1b[2J très bon",
        "   ERROR: next",
        "   DataError: the label '\\x9b31m' is unknown",
    ]


def test_why_a_task_is_skipped_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    from release_log import readable

    entry = {"event": "Skipping task.", "reason": "reviews has 1 version", "logger": "task", "level": "info"}
    assert list(readable([json.dumps(entry)])) == ["   Skipped: reviews has 1 version"]
