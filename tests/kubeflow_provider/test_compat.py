"""The one module that knows how Airflow's versions differ: the first to fail when Airflow moves something."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kubeflow_provider
from kubeflow_provider import compat
from kubeflow_provider.exceptions import (
    RETRY_POLICY,
    DeploymentFailedError,
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    RunFailedError,
    ServiceUnavailableError,
)
from kubeflow_provider.triggers import base
from tests.kubeflow_provider.triggers.test_starting import RUN_ID, Airflow, Service, airflow, make, service

__all__ = ("airflow", "make", "service")  # fixtures

PACKAGE = Path(kubeflow_provider.__file__).parent

#: Beginnings of what Airflow's own pages call private, and of what was elsewhere in Airflow 3.1.
PRIVATE = (
    "airflow.sdk.execution_time",
    "airflow.sdk._shared",
    "airflow.sdk.api",
    "airflow.sdk.configuration",
    "airflow.models",
    "airflow.jobs",
    "airflow.configuration",
    "airflow.exceptions",
    "airflow.utils",
    "airflow.serialization",
)


def imports(file: Path) -> set[tuple[str, str]]:
    """Return module and name of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {(node.module, name.name) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {(name.name, "") for name in node.names}
    return found


def test_what_is_private_or_newer_than_3_1_is_imported_in_one_module() -> None:
    newer = {
        ("airflow.sdk", "conf"),
        *(("airflow.sdk", name) for name in ("ExceptionRetryPolicy", "RetryAction", "RetryRule", "ResumableJobMixin")),
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        if name == "compat.py" or name.startswith(("_moved", "build")):
            continue
        wrong = [
            one
            for one in imports(file)
            if one[0].startswith(PRIVATE)
            or one in newer
            or one == ("airflow.sdk.bases.decorator", "determine_kwargs")
            or (one[0] == "airflow.sdk.exceptions" and one[1] != "AirflowException")
        ]
        if wrong:
            found[name] = sorted(wrong)

    assert found == {}, "take these from kubeflow_provider.compat, which has them on every Airflow"


def test_every_module_is_imported_on_this_airflow() -> None:
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    modules = [
        file.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
        for file in PACKAGE.rglob("*.py")
        if not {"_moved", "docs", "build"} & {*file.relative_to(PACKAGE).parts}
    ]
    modules.remove("kubeflow_provider.operators._lineage")  # which Airflow's OpenLineage provider alone asks for
    for module in modules:
        importlib.import_module(module.removesuffix(".__init__"))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("airflow.sdk.execution_time.xcom", "XCom.get_one"),
        ("airflow.sdk.execution_time.xcom", "XCom.get_all"),
        ("airflow.sdk.execution_time.xcom", "XCom.get_value"),
        ("airflow.sdk.execution_time.xcom", "XCom.set"),
        ("airflow.sdk.execution_time.task_runner", "RuntimeTaskInstance.get_task_states"),
        ("airflow.sdk.execution_time.comms", "CommsDecoder.asend"),
        ("airflow.triggers.base", "BaseTrigger.cleanup"),
    ],
)
def test_what_is_private_is_where_it_is_looked_for(module: str, name: str) -> None:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)


@pytest.mark.parametrize(
    "error",
    [InvalidRequestError, PermissionDeniedError, RunFailedError, DeploymentFailedError, ServiceUnavailableError],
)
def test_an_error_that_cannot_mend_itself_ends_a_task_in_the_way_that_this_airflow_has(
    error: type[KubeflowProviderError],
) -> None:
    is_final = error is not ServiceUnavailableError
    if RETRY_POLICY is None:
        assert issubclass(error, compat.AirflowFailException) is is_final
        return
    assert not issubclass(error, compat.AirflowFailException), "a policy of the user's would not be asked"
    assert any(rule.exception is error for rule in RETRY_POLICY.rules) is is_final


def test_memory_is_the_store_or_else_the_xcom_of_the_try() -> None:
    xcom: dict[str, Any] = {}
    ti = SimpleNamespace(
        task_id="train",
        map_index=2,
        xcom_push=xcom.__setitem__,
        xcom_pull=lambda task_ids, key, map_indexes: xcom.get(key) if (task_ids, map_indexes) == ("train", 2) else 1,
    )
    store = object()
    assert compat.memory_of({"ti": ti, "task_state_store": store}) is store
    assert compat.outlives_tries({"ti": ti, "task_state_store": store})

    memory = compat.memory_of({"ti": ti})
    assert not compat.outlives_tries({"ti": ti})
    assert memory.get("a") is None
    memory.set("a", {"b": 1})
    assert memory.get("a") == {"b": 1}
    memory.delete("a")
    assert memory.get("a") is None


@pytest.mark.parametrize("is_told", [True, False], ids=["3.3", "before 3.3"])
@pytest.mark.parametrize("state", ["deferred", "failed", None])
async def test_a_trigger_that_is_not_told_of_a_user_asks_when_it_ends(
    airflow: Airflow, service: Service, make: Any, monkeypatch: pytest.MonkeyPatch, is_told: bool, state: str | None
) -> None:
    monkeypatch.setattr(base, "TRIGGERS_ARE_KILLED", is_told)
    airflow.state = state
    await make().cleanup()

    assert service.terminated == ([] if is_told or state == "deferred" else [RUN_ID])


async def test_a_trigger_that_has_told_its_task_leaves_the_run_to_it(
    airflow: Airflow, service: Service, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TRIGGERS_ARE_KILLED", False)
    trigger = make()
    assert [event async for event in trigger.run()]
    airflow.state = "running"
    await trigger.cleanup()

    assert service.terminated == []


async def test_a_trigger_without_a_task_ends_nothing_when_it_ends(
    airflow: Airflow, service: Service, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TRIGGERS_ARE_KILLED", False)
    trigger = make()
    trigger.trigger_id = trigger.task_instance = None
    await trigger.cleanup()

    assert service.terminated == []


async def test_a_worker_that_cannot_ask_meanwhile_waits_for_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in Airflow 3.1, whose workers find no connection in an event loop; a triggerer's loop is never stopped."""
    from airflow.sdk import BaseHook, Connection
    from airflow.sdk.execution_time import comms, task_runner

    async def not_found(conn_id: str) -> Connection:
        raise compat.AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    found = Connection(conn_id="kubeflow", conn_type="kubeflow_pipelines")
    monkeypatch.setattr(BaseHook, "aget_connection", not_found)
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: found)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object.__new__(comms.CommsDecoder), raising=False)
    assert await compat.aget_connection("kubeflow") is found

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    with pytest.raises(compat.AirflowNotFoundException):
        await compat.aget_connection("kubeflow")
