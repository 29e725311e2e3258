"""A broken candidate never gets the traffic: the live version answers throughout, and the record says why."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import DeploymentFailedError, KubeflowProviderError
from kubeflow_provider.services import ModelVersion
from local_services.torchserve.hook import TorchServeHook
from model_releases.exceptions import CheckFailedError
from model_releases.memory.failures import describe
from model_releases.operators import undo
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.operators.undo import RollBackOperator
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.service import Release
from tests.serving_support import GOOD, FakeContext, build_version, candidate_uri, connection_json, torchserve

pytestmark = pytest.mark.torchserve

FIRST, SECOND = "20260101000000", "20260102000000"
_MODELS = (f"broken-{number}" for number in count())


@pytest.fixture(scope="module")
def worlds(pipelines_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("worlds")
    with torchserve(pipelines_python, folder) as running:
        extra = {"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}", "artifact_uri": (folder / "files").as_uri()}
        registry = Connection(conn_id="registry_test", conn_type="mlflow", extra=json.dumps(extra))
        running.registry = MlflowHook("registry_test", connection=registry)
        running.variables = {
            "AIRFLOW_CONN_SERVING_TEST": connection_json(running.connection),
            "AIRFLOW_CONN_REGISTRY_TEST": connection_json(registry),
        }
        yield running


class Trial:
    """One release of a model that has a live version, or none, taken step by step."""

    def __init__(self, worlds: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = next(_MODELS)
        self.hook: TorchServeHook = worlds.hook
        self.registry: MlflowHook = worlds.registry
        self.context = FakeContext()
        self._store = worlds.store
        self._monkeypatch = monkeypatch
        for name, value in worlds.variables.items():
            monkeypatch.setenv(name, value)

    def release_first(self) -> None:
        self.hook.deploy_candidate(self._build(FIRST, "sound"))
        self.hook.promote(self.model, FIRST)

    def candidate(self, behaviour: str) -> str:
        self.registry.register(Release(model=self.model, version=SECOND, state=ReleaseState.REGISTERED), metrics={})
        self.built = self._build(SECOND, behaviour)
        return candidate_uri(self.built)

    def deploy(self) -> None:
        DeployCandidateOperator(
            task_id="deploy_candidate",
            settings=self.built.settings,
            deferrable=False,
            **self._common,
        ).execute(self.context)

    def smoke_test(self, through: Any = "candidate") -> None:
        SmokeTestOperator(
            task_id="smoke_test",
            through=through,
            max_latency_ms=900,
            patience_seconds=1,
            **self._common,
        ).execute(self.context)

    def promote(self) -> None:
        PromoteOperator(task_id="promote", **self._common).execute(self.context)

    def roll_back(self, error: KubeflowProviderError) -> str | None:
        # The real one reads Airflow's database; it has tests of its own.
        self._monkeypatch.setattr(undo, "first_failure", lambda context, task_ids: describe("smoke_test", error))
        operator = RollBackOperator(
            task_id="roll_back",
            previous_version=self.context.xcoms.get("previous_version"),
            **self._common,
        )
        return operator.execute(self.context)

    def record(self) -> Release:
        release = self.registry.get_release(self.model, SECOND)
        assert release is not None
        return release

    def answering(self) -> Any:
        answer = self.hook.predict(self.model, GOOD)
        return answer.body["predictions"][0]["version"] if answer.status_code == 200 else answer.status_code

    @contextmanager
    def users(self) -> Iterator[list[Any]]:
        """Ask for predictions all the time; yield who answered."""
        answers: list[Any] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    answers.append(self.answering())
                except KubeflowProviderError as error:
                    answers.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield answers
        finally:
            stop.set()
            thread.join()

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": SECOND,
            "candidate_uri": candidate_uri(self.built),
            "serving_conn_id": "serving_test",
            "registry_conn_id": "registry_test",
        }

    def _build(self, version: str, behaviour: str) -> ModelVersion:
        return build_version(self._store, version, behaviour=behaviour, model=self.model)


@pytest.fixture
def trial(worlds: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Trial:
    return Trial(worlds, monkeypatch)


def fails_before_promotion(trial: Trial, error: type[KubeflowProviderError], message: str) -> None:
    trial.release_first()
    with trial.users() as answers:
        with pytest.raises(error, match=message) as caught:
            trial.deploy()
            trial.smoke_test()
        assert trial.hook.get_live(trial.model).version == FIRST  # type: ignore[union-attr]
        assert trial.roll_back(caught.value) == FIRST
    assert set(answers) == {FIRST}
    assert trial.hook.get_deployment(trial.model, SECOND) is None
    assert trial.record().state is ReleaseState.FAILED
    assert message in trial.record().reason


def test_a_handler_that_does_not_load(trial: Trial) -> None:
    trial.candidate("does not load")
    fails_before_promotion(trial, DeploymentFailedError, "the weights do not fit the model")


@pytest.mark.long  # the checks are told by tests/model_releases/operators/test_smoke_test.py
def test_a_handler_that_raises(trial: Trial) -> None:
    trial.candidate("raises")
    fails_before_promotion(trial, CheckFailedError, "HTTP 503")


def test_labels_permuted(trial: Trial) -> None:
    trial.candidate("labels permuted")
    fails_before_promotion(trial, CheckFailedError, "label good in row 1, got bad")


@pytest.mark.long
def test_too_slow(trial: Trial) -> None:
    trial.candidate("is slow")
    fails_before_promotion(trial, CheckFailedError, "latency")


@pytest.mark.long
def test_bad_input_answered_with_200(trial: Trial) -> None:
    trial.candidate("accepts bad input")
    fails_before_promotion(trial, CheckFailedError, "bad input")


def test_a_version_that_breaks_after_it_was_promoted_gives_way(trial: Trial) -> None:
    trial.release_first()
    trial.candidate("labels permuted")
    trial.deploy()
    with trial.users() as answers:
        trial.promote()
        assert trial.answering() == SECOND
        with pytest.raises(CheckFailedError, match="label good in row 1") as caught:
            trial.smoke_test(through="endpoint")
        assert trial.roll_back(caught.value) == FIRST
    assert set(answers) <= {FIRST, SECOND}
    assert trial.answering() == FIRST
    assert trial.hook.get_deployment(trial.model, SECOND) is None
    assert trial.record().state is ReleaseState.ROLLED_BACK


def test_a_first_release_that_is_broken_never_reaches_users(trial: Trial) -> None:
    trial.candidate("labels permuted")
    with trial.users() as answers:
        trial.deploy()
        with pytest.raises(CheckFailedError) as caught:
            trial.smoke_test()
        assert trial.roll_back(caught.value) is None
    assert set(answers) <= {404, 503}
    assert trial.record().state is ReleaseState.FAILED
