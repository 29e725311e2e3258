"""Whether what was measured before a release foretells what users get: accuracies of versions, before and by labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from include.classifier.data.sources import as_uri
from include.contracts.documents import DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring.drift import Agreement, LiveAccuracy, MeasuredVersion
from include.monitoring.accuracy import CONFIDENCE
from include.monitoring.statistics import wilson

#: Of fewer versions no correlation is told.
LEAST_VERSIONS = 5
_DRAWS = 4_000
_SEED = 20261130


def agreement(
    accuracy: Sequence[LiveAccuracy], measured: Mapping[str, tuple[float, int]], *, live: str, tolerated: float
) -> Agreement:
    """Compare versions whose labels have arrived with what was measured of them.

    :param accuracy: by labels, as :func:`include.monitoring.accuracy.accuracies` returns it.
    :param measured: version -> accuracy on its evaluation rows, and how many these were.
    :param live: version.
    :param tolerated: how far the live version's accuracy may lie below what was measured.
    """
    versions = [
        _version(each, *measured[each.version]) for each in accuracy if not each.slice and each.version in measured
    ]
    ours = next((each for each in versions if each.version == live), None)
    found = Agreement(
        versions=versions,
        is_lower=ours is not None and ours.high < -tolerated,
        tolerated=tolerated,
        correlation=None,
        low=None,
        high=None,
        why_not="",
    )
    if len(versions) < LEAST_VERSIONS:
        return found.model_copy(
            update={"why_not": f"{len(versions)} versions have enough labels, {LEAST_VERSIONS} are needed"}
        )
    value, low, high = correlation(versions)
    return found.model_copy(update={"correlation": value, "low": low, "high": high})


def measured_of(store_uri: str, versions: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return version -> accuracy on its evaluation rows and their number, of those whose files are still there.

    :param store_uri: the model's folder in the model store.
    """
    import fsspec

    found = {}
    for version in versions:
        uri = f"{as_uri(store_uri)}/{version}/{TextClassifierCandidate.file}"
        try:
            with fsspec.open(uri, "rb") as file:
                candidate = TextClassifierCandidate.parse(file.read().decode("utf-8"), where=uri)
        except (FileNotFoundError, DocumentError, UnicodeDecodeError):
            continue
        found[version] = candidate.metrics.candidate.accuracy, candidate.dataset.evaluation_rows
    return found


def _version(found: LiveAccuracy, measured: float, rows: int) -> MeasuredVersion:
    """Compare one version's shares: Newcombe's hybrid score interval, Statistics in Medicine 17, 1998, method 10."""
    online = found.right / found.rows
    low, high = wilson(found.right, found.rows, confidence=CONFIDENCE)
    least, most = wilson(round(measured * rows), rows, confidence=CONFIDENCE)
    difference = online - measured
    return MeasuredVersion(
        version=found.version,
        measured=measured,
        measured_rows=rows,
        online=online,
        rows=found.rows,
        low=max(-1.0, difference - math.hypot(online - low, most - measured)),
        high=min(1.0, difference + math.hypot(high - online, measured - least)),
    )


def correlation(versions: Sequence[MeasuredVersion]) -> tuple[float, float, float]:
    """Return Pearson's correlation of both accuracies over versions, and its interval.

    Versions are few, and each accuracy is itself an estimate. So versions are drawn again with replacement, and of each
    both accuracies from Jeffreys' posterior of a share, Beta(right + 1/2, wrong + 1/2); the bounds are percentiles.
    Without a difference between versions there is nothing to correlate, and it is 0.
    """
    random = np.random.default_rng(_SEED)
    shares = np.array([[each.measured, each.online] for each in versions])
    rows = np.array([[each.measured_rows, each.rows] for each in versions], dtype=np.float64)
    right = shares * rows
    size = (_DRAWS, *shares.shape)
    drawn = random.beta(np.broadcast_to(right + 0.5, size), np.broadcast_to(rows - right + 0.5, size))
    chosen = random.integers(len(versions), size=(_DRAWS, len(versions)))
    drawn = np.take_along_axis(drawn, chosen[:, :, None], axis=1)
    low, high = np.quantile(_pearson(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(_pearson(shares[None])[0]), float(low), float(high)


def _pearson(pairs: np.ndarray) -> np.ndarray:
    """Return the correlation within each sample.

    :param pairs: shape ``(samples, versions, 2)``.
    """
    around = pairs - pairs.mean(axis=1, keepdims=True)
    products = (around[..., 0] * around[..., 1]).sum(axis=1)
    spread = np.sqrt((around**2).sum(axis=1).prod(axis=1))
    return np.clip(np.divide(products, spread, out=np.zeros_like(products), where=spread > 1e-12), -1.0, 1.0)
