"""What the hook does for tasks it does for an event loop, too."""

from __future__ import annotations

import inspect

import pytest

from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.pipelines.recurring_runs import RecurringRunRequest, Schedule
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeRequest

#: Needs no server, is made of other verbs, or is for operators and forms alone.
ONLY_FOR_TASKS = {
    *("run_url", "test_connection", "waits_for", "run_module", "prepare_module", "terminate_module"),
    *("check_run", "prepare_run", "start_run", "list_runs", "find_runs"),
}
VERBS = [
    name
    for name, verb in inspect.getmembers(KubeflowPipelinesHook, inspect.isfunction)
    if not inspect.iscoroutinefunction(verb)
    and verb.__module__.startswith("kubeflow_provider")
    and not name.startswith("_")
    and name not in ONLY_FOR_TASKS
]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_twin_with_the_same_arguments(name: str) -> None:
    verb, twin = (inspect.signature(getattr(KubeflowPipelinesHook, prefix + name)) for prefix in ("", "a"))
    assert inspect.iscoroutinefunction(getattr(KubeflowPipelinesHook, f"a{name}"))
    own = [parameter for parameter in twin.parameters.values() if parameter.name not in ("self", "slack_seconds")]
    assert own == [parameter for parameter in verb.parameters.values() if parameter.name != "self"]
    assert twin.return_annotation == verb.return_annotation


async def test_runs_and_pipelines(hook: KubeflowPipelinesHook, make_request: MakeRequest, server: KfpServer) -> None:
    request = make_request()
    reference = await hook.aupload_pipeline(request.pipeline)
    assert (await hook.afind_pipeline("record-and-wait")).reference == reference

    run = await hook.acreate_run(request)
    assert await hook.aget_run(run.run_id) == hook.get_run(run.run_id)
    server.runs[run.run_id].state = "FAILED"
    await hook.aretry_run(run.run_id)
    assert server.runs[run.run_id].state != "FAILED"


async def test_recurring_runs(hook: KubeflowPipelinesHook, make_request: MakeRequest) -> None:
    given = make_request()
    request = RecurringRunRequest(
        display_name="nightly",
        pipeline=given.pipeline,
        parameters=given.parameters,
        schedule=Schedule(cron="0 0 3 * * *"),
    )
    made = await hook.acreate_recurring_run(request)
    assert await hook.acreate_recurring_run(request) == made
    await hook.adisable_recurring_run(made.recurring_run_id)
    (found,) = await hook.afind_recurring_runs("nightly", experiment="Default")
    assert (found.recurring_run_id, found.is_enabled) == (made.recurring_run_id, False)
    await hook.aenable_recurring_run(made.recurring_run_id)
    assert await hook.aget_recurring_run(made.recurring_run_id) == made
    await hook.adelete_recurring_run(made.recurring_run_id)
    assert await hook.aget_recurring_run(made.recurring_run_id) is None
