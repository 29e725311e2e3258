"""What a run is called and how it is doing, and logs without what Kubeflow adds."""

from __future__ import annotations

import pytest

from kubeflow_provider.hooks._kubeflow_pipelines.logs import own_lines
from kubeflow_provider.hooks._kubeflow_pipelines.runs import name_with_id, read_run
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.states import RunState

RUN_ID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (["PENDING", "RUNNING", "CANCELING", "FAILED"], RunState.CANCELED),
        (["PENDING", "RUNNING", "FAILED"], RunState.FAILED),
        # An entry has no state where Argo had not looked at the workflow yet.
        (["PENDING", None, "RUNNING", "FAILED"], RunState.FAILED),
        # Retried after it was cancelled, and then failed by itself.
        (["PENDING", "CANCELING", "FAILED", "PENDING", "RUNNING", "FAILED"], RunState.FAILED),
    ],
)
def test_a_cancelled_run_is_known_by_its_history(history: list[str | None], expected: RunState) -> None:
    entries = [{"state": state} if state else {} for state in history]
    document = {"run_id": RUN_ID, "state": "FAILED", "state_history": entries}

    assert read_run(document, PipelinesSettings()).state is expected


def test_absent_values_are_no_mistake() -> None:
    read = read_run({"run_id": RUN_ID}, PipelinesSettings())

    assert (read.state, read.steps, read.display_name, read.url) == (RunState.PENDING, (), "", None)


def test_long_names_leave_room_for_the_id() -> None:
    name = name_with_id("x" * 300, RUN_ID)

    assert len(name) == 255
    assert name.endswith(f"xx [{RUN_ID}]")


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
