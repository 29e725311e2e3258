from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.operators import inference_services
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import IMAGE, KServeWorld, kserve
from tests.kubeflow_provider.operators.on_kserve.kserve_task import MODES, READING, event_of, rights_of_the_page
from tests.kubeflow_provider.operators.tries import Tries

_names = (f"iris-{number}" for number in count())


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster with a runtime for another format than a release's, in Standard mode unless a test says more."""
    settings = KServeSettings(default_mode=MODES[getattr(request, "param", "Standard")])
    with kserve(tmp_path_factory.mktemp("cluster"), settings=settings) as running:
        running.k8s.kserve.add_runtime("sklearn-server", IMAGE, formats=("sklearn",))
        running.k8s.faults.allow_only(rights_of_the_page() | READING)
        yield running


@pytest.fixture
def connected(world: KServeWorld, monkeypatch: pytest.MonkeyPatch) -> KServeWorld:
    """Let the operators' connection lead to the cluster; what a real one is given minutes for has seconds here."""
    connection = world.connection
    value = {"conn_type": "kserve", "host": connection.host, "extra": connection.extra}
    monkeypatch.setenv("AIRFLOW_CONN_KSERVE_DEFAULT", json.dumps(value))
    monkeypatch.setattr(KServeHook, "patience", Patience(grace_seconds=3, restarts=2, settle_seconds=0))
    monkeypatch.setattr(inference_services, "_PREDICTION_PAUSE_SECONDS", 0.05)
    return world


@pytest.fixture
def name(connected: KServeWorld) -> Iterator[str]:
    """Return a name that is free, and take away what a test leaves there."""
    name = next(_names)
    yield name
    connected.hook._delete(name)


@pytest.fixture
def carry_out() -> Callable[..., Any]:
    """Return ``carry_out(operator class, **arguments)``, which runs a task to its end; deferred if it is told so."""

    def carry_out(kind: Any, tries: Tries | None = None, **arguments: Any) -> Any:
        context = (tries or Tries()).context()
        make = {"task_id": "it", **arguments}
        operator = kind(**make)
        operator.render_template_fields(context, operator.get_template_env())
        try:
            return operator.execute(context)
        except TaskDeferred as deferred:
            return kind(**make).resume_execution(deferred.method_name, {"event": event_of(deferred)}, context)

    return carry_out
