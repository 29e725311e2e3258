"""Rows of nodes become steps, ids of nodes become names of pods, and logs lose what Kubeflow adds."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.hooks._kubeflow_pipelines.logs import own_lines, pod_names
from kubeflow_provider.hooks._kubeflow_pipelines.runs import failed_driver, name_with_id, read_run, step_nodes
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.states import RunState

RUN_ID = "11111111-2222-3333-4444-555555555555"


def row(name: str, start: int, state: str = "SUCCEEDED", *children: str, end: int | None = None) -> dict[str, Any]:
    return {
        "display_name": name,
        "state": state,
        "start_time": f"2026-11-22T02:00:{start:02}Z",
        "end_time": f"2026-11-22T02:00:{start + 9 if end is None else end:02}Z",
        "child_tasks": [{"pod_name": child} for child in children],
    }


def run(*rows: dict[str, Any], state: str = "FAILED", **fields: Any) -> dict[str, Any]:
    return {"run_id": RUN_ID, "state": state, "run_details": {"task_details": list(rows)}, **fields}


LOOP = run(
    row("train-x7k2p", 0, "FAILED", "train-x7k2p-1"),
    row("root-driver", 1),
    row("root", 2, "FAILED", "train-x7k2p-3"),
    row("for-loop-1-driver", 3),
    row("for-loop-1", 4, "FAILED"),
    row("for-loop-1-iterations", 4, "FAILED"),
    row("for-loop-1-iterations(0:0)", 5, "FAILED"),
    row("train-driver", 6),
    row("train-driver(1)", 6),
    row("train", 7, "SUCCEEDED", "train-x7k2p-8"),
    row("executor", 8),
    row("train", 10, "FAILED", "train-x7k2p-11"),
    row("executor", 11, "FAILED", "train-x7k2p-12", "train-x7k2p-13"),
    row("executor(0)", 11, "FAILED"),
    row("executor(1)", 12, "FAILED"),
)


def test_only_steps_are_shown() -> None:
    steps = read_run(LOOP, PipelinesSettings()).steps

    assert [(step.name, step.state.value) for step in steps] == [
        ("for-loop-1", "FAILED"),
        ("train", "SUCCEEDED"),
        ("train", "FAILED"),
    ]


def test_the_failed_steps_attempts_are_asked_for_their_log() -> None:
    assert step_nodes(LOOP) == ["train-x7k2p-12", "train-x7k2p-13", "train-x7k2p-11"]


def test_the_newest_step_is_asked_where_none_failed() -> None:
    document = run(row("a", 1, "SUCCEEDED", "wf-1"), row("b", 5, "RUNNING", "wf-2"), state="RUNNING")

    assert step_nodes(document) == ["wf-2"]


def test_a_step_that_failed_is_the_reason_and_not_a_driver() -> None:
    assert failed_driver(LOOP) is None
    assert failed_driver(run(row("a", 1), row("b-driver(0)", 2, "FAILED"))) == "b"


def test_what_took_a_moment_of_its_own_is_not_cached() -> None:
    document = run(row("a", 1, end=2), row("executor", 1, "SKIPPED", end=2), row("b", 3, end=4), state="SUCCEEDED")

    assert [step.state for step in read_run(document, PipelinesSettings()).steps] == [
        RunState.SKIPPED,
        RunState.SUCCEEDED,
    ]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (["PENDING", "RUNNING", "CANCELING", "FAILED"], RunState.CANCELED),
        (["PENDING", "RUNNING", "FAILED"], RunState.FAILED),
        # Retried after it was cancelled, and then failed by itself.
        (["PENDING", "CANCELING", "FAILED", "PENDING", "RUNNING", "FAILED"], RunState.FAILED),
    ],
)
def test_a_cancelled_run_is_known_by_its_history(history: list[str], expected: RunState) -> None:
    document = run(state_history=[{"state": state} for state in history])

    assert read_run(document, PipelinesSettings()).state is expected


def test_absent_values_are_no_mistake() -> None:
    read = read_run({"run_id": RUN_ID}, PipelinesSettings())

    assert (read.state, read.steps, read.display_name, read.url) == (RunState.PENDING, (), "", None)


def test_long_names_leave_room_for_the_id() -> None:
    name = name_with_id("x" * 300, RUN_ID)

    assert len(name) == 255
    assert name.endswith(f"xx [{RUN_ID}]")


def test_a_pods_name_has_its_template_in_the_middle() -> None:
    assert pod_names(["train-x7k2p-123"]) == [
        "train-x7k2p-system-container-impl-123",
        "train-x7k2p-retry-system-container-impl-123",
        "train-x7k2p-123",
    ]


def test_a_log_is_what_the_step_itself_has_said() -> None:
    log = (
        "I1122 02:00:00.123456      30 launcher_v2.go:191] publish success.\n"
        "[KFP Executor 2026-11-22 02:00:00,000 INFO]: Got executor_input:\n"
        '{\n    "inputs": {\n        "parameterValues": {\n            "a": 1\n        }\n    }\n}\n'
        "\x1b[91mepoch 1\x1b[0m\n"
        '{\n    "loss": 0.3\n}\n'
        'time="2026-11-22T02:00:01Z" level=info msg="sub-process exited"\n'
        "\n"
        "F1122 02:00:01.000000      30 main.go:57] failed to execute component: exit status 1\n"
    )

    assert own_lines(log) == ["epoch 1", "{", '    "loss": 0.3', "}"]


def test_a_step_without_a_word_of_its_own_is_quoted_by_what_others_say() -> None:
    assert own_lines("F1122 02:00:01.000000      30 main.go:57] no such image\n") == [
        "F1122 02:00:01.000000      30 main.go:57] no such image"
    ]
