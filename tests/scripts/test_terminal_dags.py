"""What runs in a terminal: what ends it, and what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from kubeflow_provider import hooks
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState

SCRIPTS = Path(__file__).parents[2] / "scripts"
_WAITS = "import sys; print('there', flush=True); sys.stdin.read()"


@pytest.fixture
def terminal_dags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    import terminal_dags

    monkeypatch.setattr(terminal_dags, "migrate", lambda env: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    return terminal_dags


@pytest.mark.processes
def test_make_stop_ends_what_runs_in_other_terminals_of_its_state_folder(
    terminal_dags: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(state: Path) -> subprocess.Popen[str]:
        marks = {terminal_dags._MARK: str(state), terminal_dags._WHAT: "release of sample-reviews"}
        process = subprocess.Popen(
            [sys.executable, "-c", _WAITS],
            env=os.environ | marks,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    own, other = started(tmp_path / "state"), started(tmp_path / "other")
    assert terminal_dags.end_terminal_dags() == ["release of sample-reviews"]
    assert own.wait() == -signal.SIGTERM
    assert other.poll() is None
    other.communicate()
    assert terminal_dags.end_terminal_dags() == []


@pytest.mark.processes
def test_a_command_says_that_something_else_has_ended_it(
    terminal_dags: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_itself = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    monkeypatch.setattr(terminal_dags, "_TEST_DAG", ends_itself)
    with pytest.raises(SystemExit, match=r"was ended after \d+ s by signal 15, as `make stop` does"):
        terminal_dags.run_dag({}, "release_sample_reviews", {}, "release of sample-reviews")


def test_the_second_of_two_is_refused_and_one_of_another_model_is_not(
    terminal_dags: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def run(env: object, dag_id: str, conf: object, what: str, log: Path) -> None:
        begun.append(what)
        if what == "release of sample-reviews":
            terminal_dags.run_dag({}, "release_yelp_reviews", {}, "release of yelp-reviews")
            with pytest.raises(SystemExit, match="Another release of sample-reviews is under way in another terminal"):
                terminal_dags.run_dag({}, "release_sample_reviews", {}, "release of sample-reviews")

    monkeypatch.setattr(terminal_dags, "_run", run)
    terminal_dags.run_dag({}, "release_sample_reviews", {}, "release of sample-reviews")
    assert begun == ["release of sample-reviews", "release of yelp-reviews"]


def test_an_interrupted_command_cancels_its_own_runs_alone(
    terminal_dags: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime(2026, 11, 1, tzinfo=UTC)
    cancelled: list[str] = []

    class Pipelines:
        def find_runs(self, text: str) -> list[Run]:
            found = {
                "own": ("release_sample_reviews", begun + timedelta(seconds=1)),
                "earlier": ("release_sample_reviews", begun - timedelta(seconds=1)),
                "of another model": ("release_sample_reviews_2", begun + timedelta(seconds=1)),
            }
            return [
                Run(run_id=name, state=RunState.RUNNING, display_name=name, description=f'["{dag_id}"', created_at=when)
                for name, (dag_id, when) in found.items()
                if text in f'["{dag_id}"'
            ]

        def terminate_run(self, run_id: str) -> None:
            cancelled.append(run_id)

    monkeypatch.setattr(hooks, "get_pipeline_service", lambda conn_id: Pipelines())
    assert terminal_dags._cancel_runs("release_sample_reviews", begun) == 1
    assert cancelled == ["own"]


@pytest.mark.parametrize(("before", "is_taken"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_ends_a_command_unless_somebody_asked_for_it_to_go_on(
    terminal_dags: ModuleType, monkeypatch: pytest.MonkeyPatch, before: signal.Handlers, is_taken: bool
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: before)
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number))
    monkeypatch.setattr(terminal_dags, "_run", lambda *_: None)
    terminal_dags.run_dag({}, "retention", {}, "retention")
    assert taken == ([signal.SIGTERM, signal.SIGHUP] if is_taken else [])
