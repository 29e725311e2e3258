"""Runs one compiled pipeline in this process's environment: the child process behind a local pipeline run.

``python -m include.pipelines.local_runner RUN_DIR`` reads ``RUN_DIR/request.json`` (``parameters``) and
``RUN_DIR/pipeline.yaml``, and keeps ``RUN_DIR/state.json`` up to date: states are named as Kubeflow Pipelines names
them, a step carries the span of the log that is its own. Whoever started this process has sent its output to
``RUN_DIR/log.txt``. What a step writes to ``RUN_DIR/progress`` (``$PROGRESS_FILE``) is its word on how far it is.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from include.classifier.progress import PROGRESS_FILE
from include.pipelines.forked_steps import fork_steps
from include.pipelines.local_steps import ENVIRONMENTS, take_over

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What KFP's executor and kfp.local add around a step's own output.
_INPUT = re.compile(r"^(?P<indent>\s*)\[KFP Executor[^\n]*Got executor_input:\n.*?^(?P=indent)\}\n", re.DOTALL | re.M)
_NOT_A_REASON = re.compile(r"^(\[KFP Executor .*|[-\s]*|[\d:.]+ - INFO - .*)$")
_LONGEST_REASON = 500
#: Set where KFP runs a step: its package then imports neither its client nor what makes pipelines.
_IN_A_STEP = "_KFP_RUNTIME"
#: Whose functions the steps of a training call; other pipelines do without its imports.
_TRAINING = "include.classifier.steps"
_TAIL_BYTES = 64 * 1024


class RunRecord:
    """The run's ``state.json``, replaced as a whole at every change so that a reader never meets half of it.

    :param run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "state.json"
        self._log = run_dir / "log.txt"
        self._progress = run_dir / "progress"
        self._lock = threading.Lock()
        self._steps: list[dict[str, Any]] = []
        self._exit_codes: dict[str, int] = {}
        self._document: dict[str, Any] = {"state": "RUNNING", "reason": None, "started": _now(), "steps": self._steps}
        self._write()

    def step_starts(self, name: str) -> dict[str, Any]:
        """Record a new step; progress that an earlier step left is not this one's.

        :return: the step, for :meth:`step_ends`.
        """
        step = {"name": name, "state": "RUNNING", "started": _now(), "log_start": self._log_size(), "log_end": None}
        with self._lock:
            self._progress.unlink(missing_ok=True)
            self._steps.append(step)
            self._write()
        return step

    def step_has_run(self, step: dict[str, Any], exit_code: int) -> None:
        """Record where a step's own output ends."""
        with self._lock:
            step["log_end"] = self._log_size()
            self._exit_codes[step["name"]] = exit_code

    def step_ends(self, step: dict[str, Any], state: str) -> None:
        """Record the end of a step."""
        with self._lock:
            step |= {"state": state, "ended": _now(), "log_end": step["log_end"] or self._log_size()}
            self._write()

    def run_ends(self, state: str, reason: str | None = None, *, outputs: dict[str, Any] | None = None) -> None:
        """Record how the run ended; a step that was still going ended with it.

        :param outputs: the pipeline's own, with ``parameters`` and ``artifacts``.
        """
        with self._lock:
            for step in self._steps:
                if step["state"] == "RUNNING":
                    step |= {"state": "FAILED", "ended": _now(), "log_end": self._log_size()}
            self._document |= {"state": state, "reason": reason, "ended": _now()}
            if outputs:
                self._document["outputs"] = outputs
            self._write()

    def failure_reason(self) -> str | None:
        """Return the failed step's name with the last thing it said, or ``None`` when no step failed."""
        failed = [step for step in self._steps if step["state"] == "FAILED"]
        if not failed:
            return None
        step = failed[-1]
        with self._log.open("rb") as log:
            log.seek(max(step["log_start"], step["log_end"] - _TAIL_BYTES))
            text = log.read(step["log_end"] - log.tell()).decode("utf-8", "replace")
        text = _INPUT.sub("", text)
        lines = [line.strip() for line in text.splitlines() if not _NOT_A_REASON.match(line.strip())]
        code = self._exit_codes.get(step["name"])
        last = lines[-1][:_LONGEST_REASON] if lines else f"it ended without a word, with exit code {code}"
        if last == "Killed":
            last = "it was killed from outside, most likely because memory ran out"
        return f"Step {step['name']!r} failed: {last}"

    def _log_size(self) -> int:
        sys.stdout.flush()
        return self._log.stat().st_size

    def _write(self) -> None:
        scratch = self._file.with_suffix(".tmp")
        scratch.write_text(json.dumps(self._document), encoding="utf-8")
        scratch.replace(self._file)


class ColourlessStream:
    """A text stream without terminal colours, which only clutter a log file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what is left of the text without its colours."""
        self._stream.write(_COLOUR.sub("", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Be the stream in everything else."""
        return getattr(self._stream, name)


def run(run_dir: Path) -> bool:
    """Run the pipeline to its end and record everything.

    :param run_dir: the run's folder.
    :return: whether it succeeded.
    """
    # First of all: from here on the run counts as started, and is never started a second time.
    record = RunRecord(run_dir)
    os.environ[PROGRESS_FILE] = str(run_dir / "progress")
    sys.stdout = sys.stderr = ColourlessStream(sys.stdout)
    try:
        parameters = json.loads((run_dir / "request.json").read_text(encoding="utf-8"))["parameters"]
        with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch:
            # Every step leaves a folder of its own in $TMPDIR.
            os.environ["TMPDIR"] = tempfile.tempdir = scratch
            outputs = _run_pipeline(run_dir, parameters, record)
    except Exception as error:  # whatever it is, it is the answer to why the run failed
        reason = record.failure_reason()
        if reason is None:
            traceback.print_exc()
            reason = _COLOUR.sub("", f"{type(error).__name__}: {error}")[:_LONGEST_REASON]
        record.run_ends("FAILED", reason)
        return False
    record.run_ends("SUCCEEDED", outputs=outputs)
    return True


def _run_pipeline(run_dir: Path, parameters: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    _import_kfp_without_its_client()
    from kfp import components, local

    take_over(record, run_dir.parent / ENVIRONMENTS)

    pipeline = run_dir / "pipeline.yaml"
    if _TRAINING in pipeline.read_text(encoding="utf-8"):
        steps = import_module(_TRAINING)
        fork_steps(first=steps.HEAVY_IMPORTS_OF_TRAINING, later=steps.HEAVY_IMPORTS_AFTER_TRAINING)
    else:
        fork_steps()
    local.init(
        # The steps' packages are this environment's; a virtual environment for each step would lack torch.
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(run_dir / "artifacts"),
        # kfp.local deletes this folder after the run, whatever is in it.
        workspace_root=str(run_dir / "workspace"),
        # Without it a failed run looks like one without outputs.
        raise_on_error=True,
    )
    task = components.load_component_from_file(str(pipeline))(**parameters)
    return outputs_of(task.outputs)


def _import_kfp_without_its_client() -> None:
    """Import the package as a step in a cluster does: the client takes as long as the rest, and there is no server."""
    os.environ[_IN_A_STEP] = "true"
    import_module("kfp")
    # From here on without: what compiles and runs pipelines is wanted.
    del os.environ[_IN_A_STEP]


def outputs_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of a pipeline as JSON: ``parameters`` (name -> value) and ``artifacts`` (name -> ``uri`` …).

    :param found: as kfp.local has them: values, artifacts and lists of these.
    """
    from kfp import dsl

    outputs: dict[str, Any] = {"parameters": {}, "artifacts": {}}
    for name, value in found.items():
        if isinstance(value, dsl.Artifact):
            outputs["artifacts"][name] = _artifact(value)
        elif isinstance(value, list) and value and all(isinstance(each, dsl.Artifact) for each in value):
            outputs["artifacts"][name] = [_artifact(each) for each in value]
        else:
            outputs["parameters"][name] = value
    # What is no number has no place in JSON but as text.
    text = json.dumps({section: entries for section, entries in outputs.items() if entries}, default=str)
    parsed: dict[str, Any] = json.loads(text, parse_constant=str)
    return parsed


def _artifact(artifact: Any) -> dict[str, Any]:
    uri = f"file://{artifact.uri}" if artifact.uri.startswith("/") else artifact.uri
    found = {"uri": uri, "type": artifact.schema_title, "metadata": dict(artifact.metadata) or None}
    return {name: value for name, value in found.items() if value is not None}


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    sys.exit(0 if run(Path(sys.argv[1]).resolve()) else 1)
