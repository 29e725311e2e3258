"""Makes ``candidate.json`` of what a run has told of its outputs; the pipeline needs to know nothing of releases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from include.contracts.documents import DocumentError
from include.contracts.kinds import KUBEFLOW_MODEL
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.kubeflow_settings import MetricConfig, OutputsConfig, PredictorConfig, RequestsConfig
from include.contracts.registry_tags import METRIC_FACT_PREFIX
from include.contracts.version.model_files import folder_digest
from include.contracts.version.pinned_models import reference_digest
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.run_outputs import names_of
from model_releases.memory.published_model import CopiedFile


def model_uri(outputs: Mapping[str, Any], asked: OutputsConfig) -> str:
    """Return where a run has left its model.

    :param outputs: see :mod:`kubeflow_provider.run_outputs`.
    :raises InvalidRequestError: naming the outputs that there are.
    """
    return uri_of(outputs, asked, asked.model, setting="model")


def predictions_uri(outputs: Mapping[str, Any], asked: OutputsConfig) -> str | None:
    """Return where a run has left its predictions of the evaluation rows; ``None`` where none are asked for.

    :raises InvalidRequestError: naming the outputs that there are.
    """
    return uri_of(outputs, asked, asked.predictions, setting="predictions") if asked.predictions else None


def measured(
    outputs: Mapping[str, Any],
    asked: OutputsConfig,
    metrics: Sequence[MetricConfig],
    live: Mapping[str, str] | None,
    *,
    computed: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Return the metrics of a run as ``candidate.json`` has them, the main one first.

    :param live: facts that the registry has of the live version; ``None`` where none is live.
    :param computed: those that are computed of its predictions, instead of told.
    :raises InvalidRequestError: naming all that are missing or no numbers.
    """
    told = [metric.name for metric in metrics if not metric.from_predictions]
    table = _table(outputs, asked) if told else {}
    values = {name: _number(table.get(name)) for name in told} | dict(computed or {})
    if missing := [name for name, value in values.items() if value is None]:
        there = (
            f"{asked.metrics!r} holds {', '.join(map(str, table)) or 'none'}." if asked.metrics else _there_are(outputs)
        )
        raise InvalidRequestError(f"The run has not said {', '.join(missing)} as a number. {there}")
    recorded = live or {}
    return [
        {
            "name": metric.name,
            "higher_is_better": metric.better == "higher",
            "value": values[metric.name],
            "live": _number(recorded.get(f"{METRIC_FACT_PREFIX}candidate.{metric.name}")),
        }
        for metric in metrics
    ]


def with_pairing(metrics: Sequence[Mapping[str, Any]], live: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return metrics with what the live version reaches on the candidate's rows in place of what was recorded of it."""
    return [{**metric, "live": live.get(metric["name"], metric["live"])} for metric in metrics]


def uri_of(outputs: Mapping[str, Any], asked: OutputsConfig, name: str, *, setting: str) -> str:
    """Return where Airflow reads an artifact, or what a parameter names.

    :param setting: of section ``outputs``, for the message.
    :raises InvalidRequestError: naming the outputs that there are.
    """
    found = _output(outputs, name)
    uri = found.get("uri") if isinstance(found, Mapping) else found
    if not isinstance(uri, str) or not uri:
        raise InvalidRequestError(
            f"The run has no output {name!r} that is an artifact or a URI. {_there_are(outputs)} Name the one that is "
            f"the {setting} in `outputs.{setting}`."
        )
    return asked.place_of(uri)


def document(
    *,
    model: str,
    version: str,
    uri: str,
    files: Mapping[str, CopiedFile],
    made_by: Mapping[str, JsonValue],
    metrics: Sequence[Mapping[str, Any]],
    live_version: str | None,
    evidence: Mapping[str, Any],
    predictor: PredictorConfig,
    smoke_test: RequestsConfig,
    where: str,
) -> str:
    """Return the text of ``candidate.json``.

    :param uri: folder that is served, or a pinned model, which has no files here.
    :param made_by: see :class:`~include.contracts.kinds.kubeflow_model.MadeBy`.
    :param evidence: its ``predictions``, ``comparison`` and ``not_comparable``.
    :param where: URI of the document, for messages.
    :raises InvalidRequestError: when it is not what it should be.
    """
    made = {
        "schema_version": 1,
        "kind": KUBEFLOW_MODEL,
        "model": model,
        "version": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "archive": _archive(uri, files),
        "made_by": dict(made_by),
        "metrics": list(metrics),
        "live_version": live_version,
        **evidence,
        "predictor": predictor.model_dump(include=set(PredictorConfig.model_fields), exclude_none=True),
        "requests": [
            {
                "request": each.request,
                "answer": each.answer,
                "tolerance": smoke_test.tolerance if each.tolerance is None else each.tolerance,
            }
            for each in smoke_test.requests
        ],
        "refused": list(smoke_test.refused),
        "max_answer_bytes": smoke_test.max_answer_bytes,
    }
    try:
        return KubeflowModelCandidate.dump(made, where=where)
    except DocumentError as error:
        raise InvalidRequestError(str(error)) from None


def digest_of(uri: str, files: Mapping[str, CopiedFile]) -> str:
    """Return the digest of a model.

    :param files: of its copy; none for one that is served as it is.
    """
    return folder_digest({name: file.sha256 for name, file in files.items()}) if files else reference_digest(uri)


def _archive(uri: str, files: Mapping[str, CopiedFile]) -> dict[str, Any]:
    found: dict[str, Any] = {"uri": uri, "sha256": digest_of(uri, files)}
    if not files:
        return found
    described = {name: {"sha256": file.sha256, "size_bytes": file.size_bytes} for name, file in files.items()}
    return found | {"size_bytes": sum(file.size_bytes for file in files.values()), "files": described}


def _table(outputs: Mapping[str, Any], asked: OutputsConfig) -> Mapping[str, Any]:
    """Return metric -> value."""
    if asked.metrics is None:
        return dict(_named_values(outputs))
    found = _output(outputs, asked.metrics)
    if isinstance(found, Mapping) and "uri" in found:
        found = found.get("metadata") or {}
    if not isinstance(found, Mapping):
        raise InvalidRequestError(
            f"The run has no output {asked.metrics!r} that is an artifact with metadata or a dict. "
            f"{_there_are(outputs)} Name the one that holds the metrics in `outputs.metrics`."
        )
    return found


def _named_values(outputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from outputs.get("parameters", {}).items()
    for name, artifact in outputs.get("artifacts", {}).items():
        if isinstance(artifact, Mapping) and artifact.get("value") is not None:
            yield name, artifact["value"]


def _output(outputs: Mapping[str, Any], name: str) -> Any:
    """Return a parameter's value, or an artifact; of a step as ``step.name``."""
    step, _, own = name.rpartition(".")
    section = outputs.get("steps", {}).get(step, {}) if step else outputs
    own_parameters, own_artifacts = section.get("parameters", {}), section.get("artifacts", {})
    return own_artifacts[own] if own in own_artifacts else own_parameters.get(own)


def _number(value: Any) -> float | None:
    """Return a finite number, ``None`` for anything else."""
    try:
        found = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _there_are(outputs: Mapping[str, Any]) -> str:
    names = sorted(names_of(outputs))
    if not names:
        return (
            "It tells of no outputs: return them from the pipeline function, or on a Kubeflow Pipelines before 3.0 "
            "give the pipeline a parameter `outputs_uri` and let its last step write them there."
        )
    return f"Its outputs are {', '.join(names)}."
