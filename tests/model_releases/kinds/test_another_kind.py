"""Adding a kind of model touches no operator: a third one, that exists in this test alone, goes through the steps."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from airflow.sdk import Connection

import include.contracts.kinds as documents
import model_releases.kinds as kinds
from include.contracts.candidate import Archive, Candidate
from include.contracts.registry_tags import ReleaseState
from include.contracts.rules.gate import Decision, rejection
from include.contracts.section import Section
from kubeflow_provider.services import Answer
from model_releases.kinds.kind import Predict
from model_releases.operators.gate import GateOperator
from model_releases.operators.registry import RegisterOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.registry.mlflow import MlflowHook
from tests.connected import connect
from tests.quick_mlflow import Mlflow
from tests.serving_support import FakeContext

ROOT = Path(__file__).parents[3]
MODEL, VERSION = "dice", "20260101000000"


class DiceCandidate(Candidate):
    """A model that throws dice: what its pipeline says is how many sides they have."""

    kind: Literal["dice"]
    archive: Archive
    sides: int

    @property
    def model_format(self) -> str:
        return "dice"

    def figures(self) -> dict[str, float]:
        return {"candidate.sides": float(self.sides)}


class DicePolicy(Section):
    least_sides: int = 6


class DiceSmokeTest:
    def run(self, predict: Predict) -> Iterator[str]:
        yield f"thrown: {predict(b'throw').body}"


class Dice:
    """A :class:`~model_releases.kinds.kind.Kind`."""

    def __init__(self, candidate: DiceCandidate) -> None:
        self._candidate = candidate

    def policy(self, values: Mapping[str, Any]) -> DicePolicy:
        return DicePolicy.model_validate(dict(values))

    def decide(self, policy: DicePolicy, *, live_version: str | None, live_at_start: str | None = None) -> Decision:
        if self._candidate.sides < policy.least_sides:
            return rejection([f"{self._candidate.sides} sides, at least {policy.least_sides} are needed"])
        line = f"accepted: {self._candidate.sides} sides"
        return Decision(accepted=True, reasons=(), line=line, text=line)

    def smoke_test(self, **limits: float) -> DiceSmokeTest:
        return DiceSmokeTest()

    def example(self) -> bytes:
        return b"throw"


class Served:
    """A serving system in which one candidate waits, and nothing is live."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def get_live(self, model: str) -> None:
        return None

    def get_deployment(self, model: str, version: str) -> None:
        return None

    def predict(self, model: str, body: bytes, **_: Any) -> Answer:
        self.asked.append(body)
        return Answer(status_code=200, body=4, latency_ms=1.0)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make the kind known, with a candidate of twenty sides, and return the arguments of its steps."""
    monkeypatch.setattr(documents, "CANDIDATES", {**documents.CANDIDATES, "dice": DiceCandidate})
    monkeypatch.setattr(kinds, "KINDS", {**kinds.KINDS, DiceCandidate: Dice})
    (tmp_path / "dice.mar").write_bytes(b"")
    made = {
        "schema_version": 1,
        "kind": "dice",
        "model": MODEL,
        "version": VERSION,
        "created_at": "2026-01-01T00:00:00+00:00",
        "archive": {
            "uri": tmp_path.as_uri(),
            "file": "dice.mar",
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "size_bytes": 1,
        },
        "code_revision": "",
        "tracking_run_id": None,
        "sides": 20,
    }
    (tmp_path / "candidate.json").write_text(json.dumps(made))
    return {"model": MODEL, "version": VERSION, "candidate_uri": (tmp_path / "candidate.json").as_uri()}


def test_a_kind_that_nobody_has_heard_of_is_judged_recorded_and_tried(
    known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, extra = Served(), '{"tracking_uri": "http://mlflow.example"}'
    registry = MlflowHook(connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))
    monkeypatch.setattr(MlflowHook, "_client", Mlflow())
    connect(monkeypatch, serving_default=serving, registry_default=registry)
    monkeypatch.setattr("model_releases.operators.registry.run_facts", lambda context: {})
    context = FakeContext()
    GateOperator(task_id="gate", policy={"least_sides": "12"}, **known).execute(context)  # type: ignore[arg-type]
    assert context.xcoms["decision"] == "accepted: 20 sides"
    assert context.xcoms["policy"] == {"least_sides": 12}

    RegisterOperator(task_id="register", **known).execute(context)  # type: ignore[arg-type]
    record = registry.get_release(MODEL, VERSION)
    assert record is not None
    assert (record.state, record.facts["model_format"]) == (ReleaseState.CANDIDATE, "dice")
    assert record.facts["metric.candidate.sides"] == "20.0"

    SmokeTestOperator(task_id="smoke_test", through="candidate", **known).execute(context)  # type: ignore[arg-type]
    assert serving.asked == [b"throw"]


def test_steps_that_every_model_has_know_no_kind() -> None:
    """What makes a candidate may know its own; what judges, serves and undoes it asks :func:`kind_of`."""
    of_a_kind = {
        "model_releases.kinds.text_classifier",
        "model_releases.kinds.kubeflow_model",
        "include.contracts.kinds.text_classifier",
        "include.contracts.kinds.kubeflow_model",
    }
    for path in (ROOT / "plugins" / "model_releases" / "operators").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & of_a_kind, path.name
