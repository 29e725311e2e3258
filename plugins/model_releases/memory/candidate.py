"""Reads ``candidate.json``: what the training pipeline says about the model that it made."""

from __future__ import annotations

from include.contracts.candidate import Candidate
from include.contracts.documents import DocumentError
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError


def read_candidate(uri: str, *, conn_id: str | None = None) -> Candidate:
    """Read a candidate from the model store.

    :param uri: for example ``s3://models/reviews/20261121030000/candidate.json``.
    :param conn_id: Airflow connection for the store; empty or ``None`` where it needs none.
    :raises ServiceUnavailableError: when it cannot be read.
    :raises InvalidRequestError: when it is not what it should be.
    """
    from airflow.sdk import ObjectStoragePath

    try:
        text = ObjectStoragePath(uri, conn_id=conn_id or None).read_text(encoding="utf-8")
        return Candidate.parse(text, where=uri)
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{uri} is not JSON: byte {error.start} is not UTF-8.") from None
    except DocumentError as error:
        raise InvalidRequestError(str(error)) from None


def read_candidate_of(model: str, version: str, uri: str, *, conn_id: str | None) -> Candidate:
    """Read a candidate and make sure that it speaks of this release.

    :raises InvalidRequestError: when it is another release's, or not what it should be.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    candidate = read_candidate(uri, conn_id=conn_id)
    if (candidate.model, candidate.version) != (model, version):
        raise InvalidRequestError(
            f"{uri} speaks of {candidate.model} {candidate.version}; this is the release of {model} {version}."
        )
    return candidate
