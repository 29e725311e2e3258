"""The steps and the state of a run, as the server's answers tell them."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.services import RunStep
from kubeflow_provider.states import RunState
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeRequest


def steps(hook: KubeflowPipelinesHook, server: KfpServer, run_id: str, entry: dict[str, Any]) -> tuple[RunStep, ...]:
    server.script(run_id, [entry])
    run = hook.get_run(run_id)
    assert run is not None
    return run.steps


def test_steps_are_those_of_the_pipeline_in_their_order(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    run_id = hook.create_run(make_request()).run_id
    entry = {
        "state": "RUNNING",
        "steps": [("zeta", "SUCCEEDED"), ("alpha", "SUCCEEDED"), ("mid", "RUNNING")],
        "cached": ["zeta"],
    }

    assert steps(hook, server, run_id, entry) == (
        RunStep(name="zeta", state=RunState.SKIPPED, progress="cached"),
        RunStep(name="alpha", state=RunState.SUCCEEDED),
        RunStep(name="mid", state=RunState.RUNNING),
    )


def test_a_failed_driver_points_to_the_inputs(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, [{"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish-driver", "FAILED")]}])

    run = hook.get_run(run_id)

    assert run is not None
    assert run.steps[-1] == RunStep(name="finish-driver", state=RunState.FAILED)
    assert str(run.reason).startswith("Step 'finish' could not be started: its driver failed")


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
