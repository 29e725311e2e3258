"""What the stories of failing writes have in common: the steps of a release, and what lets them fail."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.services import ModelVersion
from model_releases.operators import put_back, registry, undo
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.put_back import RecordRollBackOperator
from model_releases.operators.registry import RegisterOperator, ReleaseOperator
from model_releases.operators.undo import RollBackOperator
from tests.serving_support import MODEL, FakeContext, candidate_uri

Step = Callable[[], Any]


class Killed(BaseException):
    """The process is gone: nothing that it would still have done is done."""


class Faults:
    """Counts the writes, and lets them fail from one of them on, or only that one."""

    def __init__(self) -> None:
        self.arm(None)

    def arm(self, first: int | None, mode: str = "") -> None:
        self.first, self.mode, self.number, self.hits = first, mode, 0, 0

    def __call__(self, error: Exception) -> None:
        self.number += 1
        if self.first is None or self.number < self.first or (self.mode == "once" and self.number > self.first):
            return
        self.hits += 1
        raise Killed if self.mode == "killed" else error


def release_steps(version: ModelVersion, **settings: Any) -> list[Step]:
    """Return what the tasks of a release do from ``register`` on.

    :param settings: further arguments of ``deploy_candidate``.
    """
    context = FakeContext()
    known = {"model": MODEL, "version": version.version, "candidate_uri": candidate_uri(version)}
    return [
        lambda: RegisterOperator(task_id="register", **known).execute(context),
        lambda: DeployCandidateOperator(task_id="deploy_candidate", **known, **settings).execute(context),
        lambda: PromoteOperator(task_id="promote", **known).execute(context),
        lambda: ReleaseOperator(task_id="release", **known, keep_versions=1).execute(context),
    ]


def put_back_steps(version: ModelVersion, *, instead_of: str, **settings: Any) -> list[Step]:
    """Return what the tasks do that put a version back by hand."""
    context = FakeContext()
    context["dag_run"] = SimpleNamespace(triggering_user_name="ada")
    known = {"model": MODEL, "version": version.version, "candidate_uri": candidate_uri(version)}
    record = RecordRollBackOperator(task_id="record", **known, rolled_back_version=instead_of, reason="slow")
    deploy = DeployCandidateOperator(task_id="deploy", **known, registry_conn_id=None, **settings)
    return [
        lambda: deploy.execute(context),
        lambda: PromoteOperator(task_id="promote", **known).execute(context),
        lambda: record.execute(context),
    ]


def undo_steps(version: str, *, previous: str) -> list[Step]:
    """Return what the task does that takes a failed release back."""
    context = FakeContext()
    known = {"model": MODEL, "version": version, "previous_version": previous}
    return [lambda: RollBackOperator(task_id="roll_back", **known).execute(context)]


def run(steps: list[Step]) -> None:
    for step in steps:
        step()


def run_until_it_fails(steps: list[Step]) -> tuple[list[Step], BaseException | None]:
    """Return the steps that are still to be done, the failed one first, and what it failed with."""
    for number, step in enumerate(steps):
        try:
            step()
        except (Exception, Killed) as error:
            return steps[number:], error
    return [], None


def without_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the steps run without the run of a DAG around them."""
    monkeypatch.setattr(registry, "run_facts", lambda context: {})
    monkeypatch.setattr(undo, "first_failure", lambda context, task_ids: "a step failed")
    monkeypatch.setattr(put_back, "triggering_user", lambda dag_run: "ada")


def mlflow_error(what: str) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException(f"cannot {what}")
