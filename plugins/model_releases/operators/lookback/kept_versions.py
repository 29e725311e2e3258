"""Finds the versions that can still be asked, for measuring what an older model loses on newer data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from kubeflow_provider.outages import wait_out
from model_releases.registry import get_registry_service
from model_releases.rules.retention import ARCHIVE_DELETED_AT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from model_releases.registry.service import Release

#: Of older records the files are gone, or nobody asks any more.
_MOST_RECORDS = 500

DATASET_FACT, SHA256_FACT = "dataset_uri", "archive_sha256"


class KeptVersionsOperator(BaseOperator):
    """Say which released versions have their files still, and whose evaluation rows are the newest.

    Returns (as XCom) the arguments of :mod:`include.classifier.lookback.staleness`: ``versions`` as JSON, and
    ``rows_uri``. The rows are those of the newest record with a data set, whatever became of it: also a candidate that
    was rejected has newer data.

    :param model: name of the model (templated).
    :param most: how many versions, the newest that were live; a number, or a template that renders to one (templated).
    :param registry_conn_id: connection to the registry.
    :raises AirflowSkipException: with fewer than two versions there is no age.
    """

    template_fields: Sequence[str] = ("model", "most")

    def __init__(
        self, *, model: str, most: int | str = 10, registry_conn_id: str = "registry_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.most = most
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Ask the registry."""
        registry = get_registry_service(self.registry_conn_id)
        records = wait_out(lambda: registry.list_releases(self.model, limit=_MOST_RECORDS))
        kept = [record for record in records if not record.facts.get(ARCHIVE_DELETED_AT)]
        versions = _were_live(kept)[: int(self.most)]
        rows_uri = next((record.facts[DATASET_FACT] for record in _newest_first(kept) if _has_rows(record)), "")
        if len(versions) < 2 or not rows_uri:
            raise AirflowSkipException(
                f"{self.model} has {len(versions)} version(s) that were live and are kept: nothing is older."
            )
        self.log.info("%s: %s on the rows of %s.", self.model, ", ".join(each.version for each in versions), rows_uri)
        return {"versions": json.dumps([_asked(each) for each in versions]), "rows_uri": rows_uri}


def _were_live(records: Iterable[Release]) -> list[Release]:
    return [record for record in _newest_first(records) if record.state.has_been_live and record.archive_uri]


def _newest_first(records: Iterable[Release]) -> list[Release]:
    return sorted(records, key=lambda record: record.version, reverse=True)


def _has_rows(record: Release) -> bool:
    return bool(record.facts.get(DATASET_FACT))


def _asked(record: Release) -> dict[str, str]:
    return {
        "version": record.version,
        "archive_uri": record.archive_uri,
        "archive_sha256": record.facts.get(SHA256_FACT, ""),
        "dataset_uri": record.facts.get(DATASET_FACT, ""),
    }
