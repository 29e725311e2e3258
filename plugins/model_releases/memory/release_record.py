"""What the registry keeps about a candidate: made in one place, whether it is accepted or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.links import XCOM_RUN_ID, XCOM_RUN_URL
from model_releases.memory import xcoms
from model_releases.memory.candidate import Candidate
from model_releases.memory.outcome import first_xcom
from model_releases.memory.run_trigger import Trigger
from model_releases.registry.service import Release
from model_releases.states import ReleaseState

MAIN_METRICS = ("accuracy", "macro_f1", "log_loss", "expected_calibration_error")


def read_candidate(uri: str, *, model: str, version: str, conn_id: str | None) -> Candidate:
    """Read ``candidate.json`` and make sure that it speaks of this release.

    :raises InvalidRequestError: when it is another release's, or not what it should be.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    candidate = Candidate.read(uri, conn_id=conn_id)
    if (candidate.model, candidate.version) != (model, version):
        raise InvalidRequestError(
            f"{uri} speaks of {candidate.model} {candidate.version}; this is the release of {model} {version}."
        )
    return candidate


def make_record(candidate: Candidate, *, state: ReleaseState, reason: str = "", **facts: str) -> Release:
    """Return a candidate's entry for the registry.

    :param facts: more of them, such as ``dag_run_id``; those without a value are left out.
    """
    return Release(
        model=candidate.model,
        version=candidate.version,
        state=state,
        archive_uri=candidate.archive_uri,
        reason=reason,
        facts={name: value for name, value in (*_facts(candidate), *facts.items()) if value},
    )


def main_metrics(candidate: Candidate) -> dict[str, float]:
    """Return for example ``candidate.macro_f1``, with the live model's and the baseline's beside it."""
    return {
        f"{who}.{metric}": float(scores[metric])
        for who, scores in candidate.metrics.items()
        if scores is not None
        for metric in MAIN_METRICS
    }


def run_facts(context: Mapping[str, Any]) -> dict[str, str]:
    """Return which DAG run this is, what started it, and what tasks before this one have found out."""
    trigger = Trigger.of(context["dag_run"]).value if "dag_run" in context else ""
    before = sorted(context["task"].get_flat_relative_ids(upstream=True)) if "task" in context else []
    return {
        "dag_id": context["dag"].dag_id,
        "dag_run_id": context["run_id"],
        "trigger": trigger,
        "pipeline_run_id": first_xcom(context, before, XCOM_RUN_ID) or "",
        "pipeline_run_url": first_xcom(context, before, XCOM_RUN_URL) or "",
        "gate": first_xcom(context, before, xcoms.GATE) or "",
        **(first_xcom(context, before, xcoms.APPROVAL) or {}),
    }


def _facts(candidate: Candidate) -> Iterator[tuple[str, str]]:
    document = candidate.document
    dataset, training, serving = (document.get(name) or {} for name in ("dataset", "training", "serving"))
    yield "archive_sha256", candidate.archive_sha256
    yield "dataset_uri", _text(dataset.get("uri"))
    yield "dataset_sha256", _text(dataset.get("sha256"))
    yield "train_rows", _text(dataset.get("train_rows"))
    yield "evaluation_rows", _text(dataset.get("evaluation_rows"))
    yield "base_model", _text(training.get("base_model"))
    yield "base_model_revision", _text(training.get("base_model_revision"))
    yield "training_parameters", json.dumps(training.get("parameters") or {}, sort_keys=True)
    yield "serving_p95_ms", _text(serving.get("p95_ms"))
    yield "serving_precision", _text((serving.get("precision") or {}).get("chosen"))
    yield "code_revision", _text(document.get("code_revision"))
    yield "tracking_run_id", _text(document.get("tracking_run_id"))
    yield "report_uri", candidate.report_uri
    yield "created_at", _text(document.get("created_at"))


def _text(value: Any) -> str:
    return "" if value is None else str(value)
