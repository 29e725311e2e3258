"""A release whose control plane goes away in the middle of a step goes on where it was, and loses no user."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string

from kubeflow_provider import access, hooks
from kubeflow_provider.exceptions import PermissionDeniedError
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.http import authentication
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from tests.connected import install
from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.errors import unauthorized, unavailable
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.outages import Interruption, names_unknown
from tests.kserve_support import RUNTIME, KServeWorld, QuickHook, kserve, kserve_connection
from tests.serving_support import FakeContext, build_version, candidate_uri

pytestmark = pytest.mark.waits

KINDS: dict[str, Callable[[Cluster], AbstractContextManager[Any]]] = {
    "401": lambda k8s: k8s.faults.away(unauthorized()),
    "503": lambda k8s: k8s.faults.away(unavailable()),
    "refused connections": lambda k8s: k8s.server.down(),
    "unknown names": lambda k8s: names_unknown(),
}
each_kind = pytest.mark.parametrize(
    "kind", ["401", *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS if kind != "401")]
)
VERSION = "20260102000000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    with kserve(tmp_path_factory.mktemp("kserve"), settings=KServeSettings(default_mode="Standard")) as running:
        yield running


@pytest.fixture
def interruption(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruption]:
    interruption = Interruption(monkeypatch)
    yield interruption
    interruption.end()


class Release:
    """The steps of one release; each begins as in a process of its own."""

    def __init__(self, world: KServeWorld, monkeypatch: pytest.MonkeyPatch, folder: Path, model: str) -> None:
        self.world, self._monkeypatch, self.model = world, monkeypatch, model
        self.context: Any = FakeContext()
        self.context["ti"].xcom_pull = lambda task_ids, key: self.context.xcoms.get(key)
        built = build_version(folder, VERSION, model=model)
        self.shared = {
            "model": model,
            "version": VERSION,
            "candidate_uri": candidate_uri(built),
            "serving_conn_id": "serving_test",
            "registry_conn_id": None,
        }
        install(monkeypatch, "kserve", f"{QuickHook.__module__}:{QuickHook.__name__}")
        # The door that leads through the API server: what is away for one is away for the other.
        connection = kserve_connection(folder, world.k8s, door="service_proxy")
        config = folder / "kubeconfig"
        config.write_text(config.read_text().replace("127.0.0.1", "localhost"))  # a name to be resolved
        value = {"conn_type": "kserve", "extra": connection.extra}
        monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", json.dumps(value))
        self.settings = {"workers": 1, "kserve": {"runtime": RUNTIME, "storage": {folder.as_uri(): "s3://models"}}}

    def new_process(self) -> None:
        self._monkeypatch.setattr(access, "_known", {})
        self._monkeypatch.setattr(authentication, "_logins", {})
        self._monkeypatch.setattr(hooks, "_shared", hooks._SharedServices(None))

    def step(self, kind: type[Any], **arguments: Any) -> Any:
        """Return a step in a process of its own."""
        self.new_process()
        step = kind(task_id="step", **self.shared, **arguments)
        step.render_template_fields(self.context)
        return step

    def deploy(self) -> DeployCandidateOperator:
        return self.step(DeployCandidateOperator, settings=self.settings, deferrable=True, poll_interval_seconds=0.1)

    def promote(self) -> PromoteOperator:
        return self.step(PromoteOperator, deferrable=True)

    def verify(self) -> SmokeTestOperator:
        return self.step(SmokeTestOperator, through="endpoint", max_latency_ms=10_000)

    def defer(self, step: Any) -> tuple[str, dict[str, Any]]:
        """Run a step to its deferral, and return what Airflow keeps of its trigger."""
        with pytest.raises(TaskDeferred) as caught:
            step.execute(self.context)
        path, kwargs = caught.value.trigger.serialize()
        assert kwargs["was_accepted"]
        return path, kwargs

    def wait(self, kept: tuple[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
        """Wait in a new triggerer."""
        self.new_process()
        payload: dict[str, Any] = asyncio.run(import_string(kept[0])(**kept[1] | changes).wait())
        return payload


@pytest.fixture
def release(
    world: KServeWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Release:
    return Release(world, monkeypatch, tmp_path, f"reviews-{abs(hash(request.node.name)) % 10**6}")


@each_kind
def test_a_release_goes_through_an_outage_in_each_step(
    release: Release, interruption: Interruption, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def go_away() -> None:
        interruption.pauses = 0
        interruption.begin(KINDS[kind](release.world.k8s))

    step = release.deploy()
    kept = release.defer(step)
    go_away()  # before the trigger's first request
    payload = release.wait(kept)
    assert step.execute_complete(release.context, payload)
    assert (payload["state"], interruption.pauses) == ("READY", 3)

    step = release.promote()
    kept = release.defer(step)
    go_away()
    payload = release.wait(kept)
    assert payload["outcome"] == "over", payload
    assert interruption.pauses == 3
    step.execute_complete(release.context, payload)
    live = release.world.hook.get_live(release.model)
    assert live is not None and live.version == VERSION

    predict, predictions = Doors.predict, []

    def predict_and_lose(*arguments: Any, **options: Any) -> Any:
        predictions.append(options)
        if len(predictions) == 3:  # in the middle of its checks
            go_away()
        return predict(*arguments, **options)

    monkeypatch.setattr(Doors, "predict", predict_and_lose)
    release.verify().execute(release.context)
    # Connections that are open already need no name.
    assert interruption.pauses == (0 if kind == "unknown names" else 3)
    interruption.end()

    step = release.verify()
    go_away()  # before its first request: a step before it was let in
    step.execute(release.context)
    assert interruption.pauses == 3


def test_a_refusal_of_the_very_first_request_is_final(release: Release, interruption: Interruption) -> None:
    interruption.begin(release.world.k8s.faults.away(unauthorized()))
    with pytest.raises(PermissionDeniedError, match="401"):
        release.verify().execute(release.context)
    assert interruption.pauses == 0
