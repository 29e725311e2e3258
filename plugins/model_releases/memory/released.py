"""``release.json`` in the model store: left when a version goes live, read where it is taken over.

Its SHA-256 is what a person copies from one installation to the other: it stands for everything that was judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.contracts.documents import DocumentError
from include.contracts.registry_tags import TRACKING_RUN_FACT
from include.contracts.version.files import reason_of, write_file
from include.contracts.version.numbers import release_time
from include.contracts.version.released import ReleaseDocument
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory.candidate import read_text
from model_releases.memory.evidence import text_sha256
from model_releases.memory.model_store import ModelStore

if TYPE_CHECKING:
    from model_releases.registry.service import Release

# Facts of the registry. Whether a version was made here goes by the second.
RELEASE_SHA256 = "release_sha256"
TAKEN_OVER_FROM = "taken_over_from"

#: Facts of the run that released it: here another run did the like.
_OF_THE_RUN = (
    "trigger",
    "dag_id",
    "dag_run_id",
    "pipeline_run_id",
    "pipeline_run_url",
    "approval",
    "approved_by",
    "approved_at",
    "approved_sha256",
    TRACKING_RUN_FACT,
)
_OWN_FIELDS = frozenset({"candidate_sha256", "archive_sha256", "report_sha256", "gate", RELEASE_SHA256})
_MOST_BYTES = 5_000_000


def leave(release: Release, candidate_uri: str, *, dag_run_url: str, conn_id: str | None) -> str:
    """Write the document of a release, unless it is there, and return its digest. Safe to repeat.

    :param candidate_uri: URI of its ``candidate.json``, beside which it is written.
    :param dag_run_url: page of the run that released it.
    :raises DocumentError: when the record lacks what was judged.
    :raises ServiceUnavailableError: when the store cannot be read.
    :raises OSError: when the store cannot be written.
    """
    from airflow.sdk import ObjectStoragePath

    if release.facts.get(TAKEN_OVER_FROM):
        return str(release.facts[RELEASE_SHA256])
    uri = f"{candidate_uri.rpartition('/')[0]}/{ReleaseDocument.file}"
    path = ObjectStoragePath(uri, conn_id=conn_id or None)
    if path.exists():
        try:
            text = read_text(uri, conn_id=conn_id)
            ReleaseDocument.parse(text, where=uri)
            return text_sha256(text)
        except (DocumentError, InvalidRequestError):
            pass  # the write of it broke off
    facts = release.facts
    document = {
        "schema_version": 1,
        "model": release.model,
        "version": release.version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: facts.get(name, "") for name in ("candidate_sha256", "archive_sha256", "report_sha256", "gate")},
        "dag_run_url": dag_run_url,
        "facts": {name: value for name, value in facts.items() if name not in _OWN_FIELDS},
    }
    text = ReleaseDocument.dump(document, where=uri)
    write_file(path.fs, path.path, text.encode())
    return text_sha256(text)


def read_release(store_uri: str, model: str, version: str, *, sha256: str, conn_id: str | None) -> ReleaseDocument:
    """Read what another installation has left of a release.

    :param store_uri: folder of the model in the model store; nothing outside of it is read.
    :param sha256: what a person has seen there.
    :raises InvalidRequestError: when it is not there, or not what it should be.
    :raises ReleaseRefusedError: when it is another document than the person has seen.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    uri = f"{store_uri}/{version}/{ReleaseDocument.file}"
    try:
        release_time(version)
        content = ModelStore(store_uri, conn_id=conn_id).read(version, ReleaseDocument.file, max_bytes=_MOST_BYTES)
    except ValueError as error:
        raise InvalidRequestError(f"{error}: it has 14 digits, such as 20261121030000.") from None
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be read: {reason_of(error)}.") from error
    if content is None:
        raise InvalidRequestError(
            f"{uri} is not there: no installation with this model store has released {model} {version}. Both must have "
            "the same `MODEL_STORE`. Of a version that is live there and has none, clear the task `release` there."
        )
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ReleaseRefusedError(
            f"{uri} has SHA-256 {found}, and {sha256} was asked for. Copy `{RELEASE_SHA256}` from the version's page "
            "in the other installation; when it is the same there, find out who has changed the file."
        )
    try:
        document = ReleaseDocument.parse(content.decode("utf-8"), where=uri)
    except (DocumentError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{uri} is no release of ours: {error}") from None
    if (document.model, document.version) != (model, version):
        raise InvalidRequestError(f"{uri} speaks of {document.model} {document.version}, not of {model} {version}.")
    return document


def carried_facts(document: ReleaseDocument, sha256: str) -> Mapping[str, str]:
    """Return what the registry of this installation keeps of the release elsewhere, besides the candidate's facts.

    :param sha256: of the document.
    """
    there = {f"{name}_there": document.facts[name] for name in _OF_THE_RUN if document.facts.get(name)}
    return {
        **there,
        TAKEN_OVER_FROM: document.dag_run_url or "another installation",
        RELEASE_SHA256: sha256,
        "released_there_at": document.created_at,
        TRACKING_RUN_FACT: "",  # a run of the MLflow there
    }
