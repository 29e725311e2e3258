"""What ends the processes of a training is said by the training, as what it is."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from include.classifier.training.processes.launch import ERROR, LASTING, ProcessesError, _explain


@pytest.mark.parametrize("kind", LASTING, ids=lambda kind: kind.__name__)
def test_what_no_new_try_changes_is_raised_as_what_it_is(kind: type[Exception], tmp_path: Path) -> None:
    said = {"kind": kind.__name__, "message": "file:///d/train.parquet: was changed. Run preprocessing again."}
    (tmp_path / ERROR).write_text(json.dumps(said), encoding="utf-8")

    with pytest.raises(kind) as raised:
        _explain(tmp_path, {1: -signal.SIGTERM}, tries=4)
    assert str(raised.value) == said["message"]


@pytest.mark.parametrize(
    ("code", "how"), [(-signal.SIGKILL, "memory ran out"), (-signal.SIGSEGV, "by signal 11"), (3, "exit code 3")]
)
def test_what_has_died_again_and_again_says_how(code: int, how: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessesError, match=rf"Process 1 of the training .*{how}.* It was tried 4 times"):
        _explain(tmp_path, {1: code}, tries=4)
