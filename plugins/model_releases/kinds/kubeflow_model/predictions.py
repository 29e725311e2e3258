"""A candidate's predictions of the evaluation rows: read, kept beside the model, and paired with the live version's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.kubeflow_settings import MetricConfig
from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.paired_figures import FEWEST_ROWS, FigureError, compare, measure
from include.contracts.rules.predictions import (
    MOST_BYTES,
    Predictions,
    PredictionsError,
    dump_predictions,
    parse_predictions,
    rows_digest,
)
from include.contracts.version.files import reason_of, write_file
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.memory.candidate import open_plain
from model_releases.memory.evidence import insist_on_digest, read_judged
from model_releases.memory.published_model import connection_for
from model_releases.registry.service import Release

#: In the folder of an attempt, beside the model.
KEPT_FILE = "predictions.jsonl"


@dataclass(frozen=True, slots=True)
class Pairing:
    """What pairing with the live version has shown.

    :param comparison: as ``candidate.json`` has it; ``None`` where rows could not be paired.
    :param live: metric -> the live version's figure on these rows.
    :param reason: why rows could not be paired, where there was something to pair.
    """

    comparison: dict[str, Any] | None = None
    live: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def read_predictions(uri: str, *, store_uri: str, conn_id: str | None) -> dict[str, Any]:
    """Read what a pipeline has written.

    :param uri: a file.
    :param store_uri: anywhere in the model store; a file of a store of the same kind is read with its connection.
    :raises InvalidRequestError: when it is not there, or holds no predictions.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    content = _content(uri, connection_for(uri, store_uri, conn_id))
    try:
        return dict(parse_predictions(content, where=without_secrets(uri)))
    except PredictionsError as error:
        raise InvalidRequestError(str(error)) from None


def figures_of(predictions: Predictions, metrics: Sequence[MetricConfig]) -> dict[str, float]:
    """Return the metrics that are computed of predictions.

    :raises InvalidRequestError: when one is of numbers, and they are none.
    """
    try:
        return {
            metric.name: measure(metric.from_predictions, predictions) for metric in metrics if metric.from_predictions
        }
    except FigureError as error:
        raise InvalidRequestError(f"The run's predictions are none for a metric of numbers: {error}.") from None


def keep(predictions: Predictions, folder_uri: str, *, conn_id: str | None) -> dict[str, Any]:
    """Write predictions into a folder of the store; return what ``candidate.json`` says of them.

    :raises ServiceUnavailableError: when the store cannot be written.
    """
    from airflow.sdk import ObjectStoragePath

    uri, content = f"{folder_uri}/{KEPT_FILE}", dump_predictions(predictions)
    path = ObjectStoragePath(uri, conn_id=conn_id or None)
    try:
        write_file(path.fs, path.path, content)
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be written: {reason_of(error)}.") from error
    return {
        "uri": uri,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "rows": len(predictions),
        "rows_sha256": rows_digest(predictions),
    }


def pair(
    ours: Predictions,
    live: KubeflowModelCandidate,
    metrics: Sequence[MetricConfig],
    *,
    model_sha256: str,
    confidence: float,
    conn_id: str | None,
) -> Pairing:
    """Compare a candidate with the live version, row by row.

    :param model_sha256: of the candidate; one that is the live model once more differs nowhere.
    :raises ReleaseRefusedError: when what is kept of the live version was changed.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    asked = [metric for metric in metrics if metric.from_predictions]
    if not asked:
        return Pairing()
    kept = live.predictions
    if kept is None:
        return Pairing(reason=f"live {live.version} has kept no predictions")
    if kept.rows_sha256 != rows_digest(ours):
        return Pairing(reason=f"live {live.version} has predicted other rows, or the same with other labels")
    if len(ours) < FEWEST_ROWS:
        return Pairing(reason=f"{len(ours)} rows are too few for one, {FEWEST_ROWS} are needed")
    try:
        content = _content(kept.uri, conn_id)
    except InvalidRequestError:  # somebody has tidied up, which is no reason to release nothing
        return Pairing(reason=f"the predictions of live {live.version} are gone")
    insist_on_digest(kept.uri, hashlib.sha256(content).hexdigest(), kept.sha256)
    added_rows = 0.0 if model_sha256 == live.archive.sha256 else 1.0
    try:
        theirs = parse_predictions(content, where=kept.uri)
        found = {
            metric.name: compare(metric.from_predictions, ours, theirs, confidence=confidence, added_rows=added_rows)
            for metric in asked
            if metric.from_predictions
        }
    except FigureError:  # the live version's metrics were others, and these are computed of none of its labels
        return Pairing(reason=f"live {live.version} has predicted something else than numbers")
    differences = [
        {"name": name, "difference": each.difference, "low": each.low, "high": each.high}
        for name, each in found.items()
    ]
    comparison = {
        "version": live.version,
        "rows": len(ours),
        "confidence": confidence,
        "differences": differences,
    }
    return Pairing(comparison, {name: each.second for name, each in found.items()})


def read_live(release: Release, uri: str, *, conn_id: str | None) -> KubeflowModelCandidate | None:
    """Return the candidate that the live version once was, ``None`` when it is gone or was of another kind.

    :param uri: of its ``candidate.json``; it must be the one that its gate has judged.
    :raises ReleaseRefusedError: when it was changed since.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    from airflow.sdk import ObjectStoragePath

    if not ObjectStoragePath(uri, conn_id=conn_id or None).exists():
        return None
    sha256 = release.facts.get("candidate_sha256")
    found = read_judged(release.model, release.version, uri=uri, sha256=sha256, conn_id=conn_id)
    return found if isinstance(found, KubeflowModelCandidate) else None


def _content(uri: str, conn_id: str | None) -> bytes:
    shown = without_secrets(uri)
    try:
        with open_plain(uri, conn_id=conn_id) as file:
            return file.read(MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InvalidRequestError(f"Predictions {shown} are not there, or are no single file.") from error
    except OSError as error:
        raise ServiceUnavailableError(f"Predictions {shown} cannot be read: {reason_of(error)}.") from error
    except (ImportError, ValueError) as error:
        raise InvalidRequestError(
            f"Predictions {shown} cannot be read: {type(error).__name__}. Airflow needs its provider."
        ) from error
