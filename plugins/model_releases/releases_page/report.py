"""A release's report: a page that a pipeline wrote, shown so that it can do nothing but be looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from include.contracts.monitoring.drift import STALENESS_FOLDER
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.config import REPORT_PATH, ModelConfig
from model_releases.memory.model_store import ModelStore
from model_releases.releases_page.reading import Reader

#: It carries its own styles and pictures. The sandbox takes it Airflow's origin, and with that the user's session.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox"
}
_IN_ATTEMPT = re.compile(rf"(?P<attempt>attempt-[0-9]{{1,3}})/{re.escape('/'.join(REPORT_PATH))}")
_MAX_BYTES = 20 * 1024 * 1024
_WAIT_SECONDS = 15.0


def read(model: ModelConfig, version: str) -> str:
    """Return a version's report.

    :raises InvalidRequestError: when there is none.
    :raises ServiceUnavailableError: when the store does not give it, or not in time.
    """
    uri = model.report_uri(version)
    missing = f"There is no report at {uri}: this release was not evaluated."
    return _read(uri, lambda: _fetch(model, version), missing)


def read_drift(model: ModelConfig, run: str | None) -> str:
    """Return a drift report, or raise as :func:`read` does.

    :param run: its time as 14 digits; ``None``: the newest.
    """
    uri = f"{model.store_uri}/drift/{run or ''}"
    missing = f"There is no drift report at {uri}: captured requests have not been compared yet, or it was deleted."
    return _read(uri, lambda: _fetch_drift(model, run), missing)


def read_staleness(model: ModelConfig) -> str:
    """Return what older versions lose on newer data, or raise as :func:`read` does."""
    uri = f"{model.store_uri}/{STALENESS_FOLDER}"
    missing = f"There is no report at {uri}: the DAG `staleness` measures every Monday, and `make staleness` at once."
    return _read(uri, lambda: _store(model).staleness_report(max_bytes=_MAX_BYTES), missing)


def _read(uri: str, fetch: Callable[[], bytes | None], missing: str) -> str:
    reading = Reader(wait_seconds=_WAIT_SECONDS).read(uri, fetch)
    if not reading.is_known:
        raise ServiceUnavailableError(f"The model store does not give the report {uri}: {reading.problem}.")
    if reading.value is None:
        raise InvalidRequestError(missing, http_status=404)
    return str(reading.value, "utf-8")


def _store(model: ModelConfig) -> ModelStore:
    return ModelStore(model.store_uri, conn_id=model.store_conn_id)


def _fetch_drift(model: ModelConfig, run: str | None) -> bytes | None:
    store = _store(model)
    chosen = run or next(reversed(store.drift_reports()), None)
    return store.drift_report(chosen, max_bytes=_MAX_BYTES) if chosen else None


def _fetch(model: ModelConfig, version: str) -> bytes | None:
    store = _store(model)
    document = store.read(version, "candidate.json", max_bytes=_MAX_BYTES)
    return store.read(version, *_report_path(version, document), max_bytes=_MAX_BYTES)


def _report_path(version: str, document: bytes | None) -> Sequence[str]:
    """Return where the report lies below the version's folder: in the attempt that the candidate is of.

    What the document says is a training's word: of it nothing counts but the number of the attempt.
    """
    try:
        uri = str(json.loads(document or b"{}")["report_uri"])
    except (ValueError, KeyError, TypeError, RecursionError):
        uri = ""
    found = _IN_ATTEMPT.fullmatch(uri.rpartition(f"/{version}/")[2])
    return (found["attempt"], *REPORT_PATH) if found else REPORT_PATH
