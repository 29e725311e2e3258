"""A module's pod that a trigger starts and looks after: no worker waits for it, and nobody leaves it behind."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.module_loading import import_string

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from kubeflow_provider.operators.modules import RunModuleOperator
from kubeflow_provider.triggers.modules import ModulePodTrigger
from tests.doubles.kubernetes import Cluster
from tests.kubeflow_provider.kubernetes.conftest import IMAGE, wait_for_pods
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def connection(k8s: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"kubernetes_conn_id": "cluster", "namespace": k8s.namespace}
    value = {"conn_type": "kubeflow_pipelines", "host": "http://127.0.0.1:9", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))


def chore(do: str, *, image: str = IMAGE) -> RunModuleOperator:
    return RunModuleOperator(
        task_id="preprocess",
        module="chore",
        arguments={"do": do},
        cluster={"image": image},
        timeout=timedelta(minutes=1),
        deferrable=True,
        poll_interval_seconds=0.05,
    )


def deferred(operator: RunModuleOperator) -> ModulePodTrigger:
    """Return the trigger that a triggerer makes from what the task left."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute({})  # type: ignore[typeddict-item]
    path, arguments = caught.value.trigger.serialize()
    pod = json.loads(json.dumps(arguments["pod"]))
    trigger: ModulePodTrigger = import_string(path)(**arguments | {"pod": pod})
    return trigger


async def event_of(trigger: ModulePodTrigger) -> dict[str, Any]:
    (event,) = [event async for event in trigger.run()]
    return dict(event.payload)


def left(k8s: Cluster) -> list[Any]:
    return [pod for pod in k8s.pods() if not pod["metadata"].get("deletionTimestamp")]


@pytest.mark.parametrize(
    ("do", "image", "error", "message"),
    [
        ("it", IMAGE, None, ""),
        ("2", IMAGE, InvalidRequestError, r"^row 3 of train\.csv has no label$"),
        (
            "it",
            "example/none:1",
            KubeflowProviderError,
            r"chore did not start: (ErrImagePull|ImagePullBackOff): ",
        ),
    ],
)
def test_a_deferred_task_has_its_module_run_by_the_trigger_and_tells_what_became_of_it(
    k8s: Cluster, made: list[Any], capsys: pytest.CaptureFixture[str],
    do: str, image: str, error: type[Exception] | None, message: str,
) -> None:  # fmt: skip
    operator = chore(do, image=image)
    trigger = deferred(operator)
    assert made == [], "nothing is started that nobody looks after"

    event = asyncio.run(event_of(trigger))
    if error is None:
        operator.execute_complete({}, event)  # type: ignore[typeddict-item]
        assert f"arguments {json.dumps({'do': do})}" in capsys.readouterr().out
    else:
        with pytest.raises(error, match=message):
            operator.execute_complete({}, event)  # type: ignore[typeddict-item]
    assert len(made) == 1
    assert left(k8s) == []


@pytest.mark.parametrize(
    ("state", "stays"), [("failed", False), ("skipped", False), (None, False), ("queued", False), ("deferred", True)]
)
def test_whoever_ends_the_task_ends_the_pod_and_a_triggerer_that_stalls_does_not(
    k8s: Cluster, made: list[Any], monkeypatch: pytest.MonkeyPatch, state: str | None, stays: bool
) -> None:
    states = {"r": {"preprocess": "deferred"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **ids: states)
    one, other = deferred(chore("sleep")), deferred(chore("sleep"))
    for trigger in (one, other):
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
            dag_id="d", task_id="preprocess", run_id="r", map_index=-1
        )

    async def scenario() -> None:
        for trigger in (one, other):  # two triggerers: the second has taken the task over
            await trigger.poll(await trigger.connect())
        await asyncio.to_thread(wait_for_pods, k8s)
        states["r"]["preprocess"] = state  # type: ignore[assignment]
        await one.on_kill()

    asyncio.run(scenario())
    assert len(made) == 1
    assert len(left(k8s)) == (1 if stays else 0)


def test_the_pod_of_a_later_call_is_nobody_elses_to_delete(k8s: Cluster, made: list[Any]) -> None:
    before, after = deferred(chore("it")), deferred(chore("it"))
    after.pod["metadata"]["labels"]["kubeflow-provider/call"] = "another"

    async def scenario() -> None:
        for trigger in (before, after):
            await trigger.poll(await trigger.connect())
        await asyncio.to_thread((await before.connect()).delete)

    asyncio.run(scenario())
    assert len(made) == 2
    assert len(left(k8s)) == 1


def test_a_pod_that_waits_for_a_node_says_what_is_missing_and_for_how_long_it_will_wait(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = SimpleNamespace(info=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(ModulePodTrigger, "log", log)
    k8s.faults.unschedulable()
    trigger = deferred(chore("it"))

    async def polled_until_it_has_said(lines: int) -> None:
        while len(said) < lines:
            await trigger.poll(await trigger.connect())
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        await polled_until_it_has_said(1)
        assert await trigger.poll(await trigger.connect()) is None
        k8s.faults.heal()
        await polled_until_it_has_said(2)

    asyncio.run(asyncio.wait_for(scenario(), LIMIT_SECONDS))
    assert " waits for a node, 1200 s at most: Unschedulable: 0/1 nodes are available: 1 Insufficient memory" in said[0]
    assert said[1].endswith("waits for no node any more.")
