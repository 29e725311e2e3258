"""The steps and the state of a run, as the server's answers tell them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kubeflow_provider.hooks._kubeflow_pipelines.steps import StepsTold, read_steps
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.services import RunStep
from kubeflow_provider.states import RunState
from tests.captured import captured_run
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeHook, MakeRequest


def told(
    *steps: tuple[str, str],
    pods: tuple[str, ...] = (),
    not_started: str | None = None,
    message: str | None = None,
    is_complete: bool = True,
) -> StepsTold:
    """Return what is to be read; ``CACHED`` is a step that was skipped because there was an earlier result."""
    return StepsTold(
        steps=tuple(
            RunStep(name=name, state=RunState.SKIPPED, progress="cached")
            if state == "CACHED"
            else RunStep(name=name, state=RunState(state))
            for name, state in steps
        ),
        pods=pods,
        not_started=not_started,
        message=message,
        is_complete=is_complete,
    )


def pod_names(*nodes: str) -> tuple[str, ...]:
    """Return the names that pods of nodes may have: the template stands in the middle of the id."""
    templates = ("-system-container-impl-", "-retry-system-container-impl-", "-")
    return tuple(template.join(node.rsplit("-", 1)) for node in nodes for template in templates)


@pytest.mark.parametrize(
    ("version", "what", "expected"),
    [
        (
            "2.17.0",
            "a run that succeeded",
            told(("record", "SUCCEEDED"), ("finish", "SUCCEEDED"), pods=pod_names("record-and-wait-gbxqh-301283103")),
        ),
        (
            "2.17.0",
            "a run whose first step failed",
            told(("record", "FAILED"), pods=pod_names("record-and-wait-sd6wv-1781678005")),
        ),
        ("2.17.0", "a cancelled run", told(("record-driver", "FAILED"), not_started="record")),
        (
            "3.0-preview",
            "a run that succeeded",
            told(
                ("record", "SUCCEEDED"),
                ("finish", "SUCCEEDED"),
                pods=("record-and-wait-64sgk-system-container-impl-3215613866",),
                is_complete=False,
            ),
        ),
        ("3.0-preview", "a run that succeeded, without its view", told(is_complete=False)),
        (
            "3.0-preview",
            "a run whose last step failed",
            told(
                ("record", "SUCCEEDED"),
                ("finish", "FAILED"),
                pods=("record-and-wait-vgkkj-system-container-impl-3863129458",),
                message="failed to execute component: exit status 1",
                is_complete=False,
            ),
        ),
    ],
)
def test_runs_of_real_servers_are_read(version: str, what: str, expected: StepsTold) -> None:
    assert read_steps(captured_run(version, what)) == expected


# Up to 2.17


def row(name: str, start: int, state: str = "SUCCEEDED", *children: str, end: int | None = None) -> dict[str, Any]:
    return {
        "display_name": name,
        "state": state,
        "start_time": f"2026-11-22T02:00:{start:02}Z",
        "end_time": f"2026-11-22T02:00:{start + 9 if end is None else end:02}Z",
        "child_tasks": [{"pod_name": child} for child in children],
    }


LOOP = [
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
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            LOOP,
            told(
                ("for-loop-1", "FAILED"),
                ("train", "SUCCEEDED"),
                ("train", "FAILED"),
                pods=pod_names("train-x7k2p-13", "train-x7k2p-12", "train-x7k2p-11"),
            ),
            id="a loop, and a step with retries of its own: its newest attempt is asked first",
        ),
        pytest.param(
            [row("a", 1, "SUCCEEDED", "wf-1"), row("b", 5, "RUNNING", "wf-2")],
            told(("a", "SUCCEEDED"), ("b", "RUNNING"), pods=pod_names("wf-2")),
            id="the newest step is asked where none failed",
        ),
        pytest.param(
            [
                row("a", 1, "RUNNING", "wf-1"),
                row("a(0)", 1, "RUNNING", "wf-2"),
                row("executor", 1, "RUNNING", "wf-3"),
                row("executor(0)", 1, "RUNNING"),
            ],
            told(("a", "RUNNING"), pods=pod_names("wf-3")),
            id="a step that runs and comes with its attempt",
        ),
        pytest.param(
            [
                row("for-loop-1", 1, "FAILED", "wf-1"),
                row("for-loop-1(0)", 1, "FAILED", "wf-2"),
                row("for-loop-1-iterations", 1, "FAILED", "wf-3"),
                row("for-loop-1-iterations(0:0)", 2, "FAILED", "wf-4"),
                row("for-loop-1-iterations(0:0)(0)", 2, "FAILED", "wf-5"),
                row("a", 3, "FAILED", "wf-6"),
                row("a(0)", 3, "FAILED", "wf-7", "wf-8"),
                row("executor", 3, "FAILED", "wf-9"),
                row("executor(0)", 3, "FAILED"),
            ],
            told(("for-loop-1", "FAILED"), ("a", "FAILED"), pods=pod_names("wf-9")),
            id="a loop whose parts come with their attempts",
        ),
        pytest.param(
            [row("a", 1), row("b-driver", 2, "FAILED"), row("b-driver(0)", 2, "FAILED")],
            told(("a", "SUCCEEDED"), ("b-driver", "FAILED"), not_started="b"),
            id="a driver that failed is a step where no step did",
        ),
        pytest.param(
            [row("a", 1, end=2), row("executor", 1, "SKIPPED", end=2), row("b", 3, end=4)],
            told(("a", "CACHED"), ("b", "SUCCEEDED")),
            id="what took a moment of its own is not cached",
        ),
        pytest.param(
            [row("a", 1), {"display_name": "b", "start_time": "2026-11-22T02:00:09Z"}, {"state": "RUNNING"}],
            told(("a", "SUCCEEDED")),
            id="rows without a state, or without a name",
        ),
    ],
)
def test_nodes_are_read(rows: list[dict[str, Any]], expected: StepsTold) -> None:
    document = {"run_details": {"task_details": rows}}

    assert read_steps(document) == expected


# From 3.0 on


def task(name: str, second: int, state: str, *pods: str, kind: str = "RUNTIME", message: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "display_name": f"What {name} does",
        "type": kind,
        "state": state,
        "create_time": f"2026-11-22T02:00:{second:02}Z",
        "pods": [{"name": pod, "type": "DRIVER" if "driver" in pod else "EXECUTOR"} for pod in pods],
        "status_metadata": {"message": message},
    }


CUT_OFF = "it was cut off: its pod was killed or lost, or the run was stopped"


@pytest.mark.parametrize(
    ("state", "tasks", "expected"),
    [
        pytest.param(
            "RUNNING",
            [
                task("b", 5, "RUNNING", "b-driver", "b-1"),
                task("ROOT", 1, "RUNNING", "root-driver", kind="ROOT"),
                task("a", 3, "CACHED", "a-driver"),
            ],
            told(("a", "CACHED"), ("b", "RUNNING"), pods=("b-1",), is_complete=False),
            id="in their order, without the root",
        ),
        pytest.param(
            "FAILED",
            [
                task("ROOT", 1, "RUNNING", "root-driver", kind="ROOT"),
                task("for-loop-1", 2, "RUNNING", "loop-driver", kind="LOOP"),
                task("a", 3, "RUNNING", "a-driver", "a-1", "a-2"),
            ],
            told(("for-loop-1", "FAILED"), ("a", "FAILED"), pods=("a-2", "a-1"), message=CUT_OFF, is_complete=False),
            id="a pod that was killed has told nobody",
        ),
        pytest.param(
            "FAILED",
            [task("a", 1, "SUCCEEDED", "a-driver", "a-1"), task("b", 2, "FAILED", "b-driver", message="no input x")],
            told(
                ("a", "SUCCEEDED"),
                ("b", "FAILED"),
                pods=("b-driver",),
                not_started="b",
                message="no input x",
                is_complete=False,
            ),
            id="a step whose driver failed",
        ),
        pytest.param(
            "FAILED",
            [task("ROOT", 1, "FAILED", "root-driver", kind="ROOT", message="no root"), task("a", 2, "SUCCEEDED")],
            told(("a", "SUCCEEDED"), message="no root", is_complete=False),
            id="the pipeline's own driver",
        ),
        pytest.param(
            "FAILED",
            [task("ROOT", 1, "FAILED", "root-driver", kind="ROOT")],
            told(is_complete=False),
            id="nothing but the root",
        ),
    ],
)
def test_tasks_are_read(state: str, tasks: list[dict[str, Any]], expected: StepsTold) -> None:
    assert read_steps({"state": state, "tasks": tasks}) == expected


# Asked by the hook


@pytest.fixture(params=["2.16.1", "2.17.0", "3.0.0"])
def any_server(request: pytest.FixtureRequest) -> Iterator[KfpServer]:
    with kfp_server(multi_user=True, prefix="/pipeline", version=request.param) as server:
        yield server


def test_steps_are_those_of_the_pipeline_in_their_order(
    any_server: KfpServer, make_hook: MakeHook, make_request: MakeRequest
) -> None:
    hook = make_hook(any_server.url, namespace="team")
    run_id = hook.create_run(make_request()).run_id
    steps = [("zeta", "SUCCEEDED"), ("alpha", "SUCCEEDED"), ("mid", "RUNNING")]
    any_server.script(run_id, [{"state": "RUNNING", "steps": steps, "cached": ["zeta"]}])

    run = hook.get_run(run_id)

    assert run is not None
    assert run.steps == told(("zeta", "CACHED"), ("alpha", "SUCCEEDED"), ("mid", "RUNNING")).steps


@pytest.mark.parametrize(
    ("steps", "failed", "reasons"),
    [
        (
            [("record", "SUCCEEDED"), ("finish", "FAILED")],
            ["finish"],
            {
                "2": "Step 'finish' failed: its log is gone",
                "3": "Step 'finish' failed: failed to execute component: exit status 1",
            },
        ),
        (
            [("record", "SUCCEEDED"), ("finish-driver", "FAILED")],
            ["finish-driver", "finish"],
            {
                "2": "Step 'finish' could not be started: its driver failed, which points to its inputs",
                "3": "Step 'finish' could not be started: its driver failed (resolving inputs: no such parameter)",
            },
        ),
        (
            [],
            [],
            {
                "2": "no step failed: it was stopped from outside",
                "3": "Kubeflow names no step that failed; its workflow may say why (kubectl describe workflow -l ",
            },
        ),
    ],
)
def test_the_reason_of_a_failure(
    any_server: KfpServer,
    make_hook: MakeHook,
    make_request: MakeRequest,
    steps: list[tuple[str, str]],
    failed: list[str],
    reasons: dict[str, str],
) -> None:
    hook = make_hook(any_server.url, namespace="team")
    run_id = hook.create_run(make_request()).run_id
    any_server.script(run_id, [{"state": "FAILED", "steps": steps}])

    run = hook.get_run(run_id)

    assert run is not None
    assert all(step.name in failed for step in run.steps if step.state is RunState.FAILED)
    assert str(run.reason).startswith(reasons[any_server.api.tag_name[0]])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("", RunState.PENDING),
        ("PAUSED", RunState.PAUSED),
        ("HIBERNATING", RunState.UNKNOWN),
        ("CANCELING", RunState.CANCELING),
    ],
)
def test_a_state_that_nobody_knows_is_not_the_end(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, shown: str, expected: RunState
) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, [shown])

    run = hook.get_run(run_id)

    assert run is not None
    assert run.state is expected
    assert not run.state.is_terminal
