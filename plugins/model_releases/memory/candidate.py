"""Reads ``candidate.json``: what the training pipeline says about the model that it made."""

from __future__ import annotations

import os
import stat
from typing import IO

from include.contracts.candidate import Candidate
from include.contracts.documents import DocumentError
from include.contracts.kinds import parse_candidate
from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError

#: A candidate of a thousand classes has a tenth of it.
_MOST_BYTES = 50_000_000


def read_text(uri: str, *, conn_id: str | None = None) -> str:
    """Read a document of the model store.

    :param uri: for example ``s3://models/reviews/20261121030000/candidate.json``.
    :param conn_id: Airflow connection for the store; empty or ``None`` where it needs none.
    :raises ServiceUnavailableError: when it cannot be read.
    :raises InvalidRequestError: when it is no text, or larger than any document is.
    """
    try:
        with open_plain(uri, conn_id=conn_id) as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InvalidRequestError(f"{uri} has more than {_MOST_BYTES // 1_000_000} MB: it is no document of ours.")
        return content.decode("utf-8")
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be read: {reason_of(error)}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{uri} is not JSON: byte {error.start} is not UTF-8.") from None


def open_plain(uri: str, *, conn_id: str | None = None) -> IO[bytes]:
    """Open a file that a training wrote: a FIFO or a device would keep whoever reads it.

    :raises InvalidRequestError: when it is no plain file.
    :raises OSError: when the store does not give it.
    """
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(uri, conn_id=conn_id or None)
    if path.protocol != "file":
        opened: IO[bytes] = path.open("rb")
        return opened
    file = open(path.path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidRequestError(f"{uri} is no plain file.")
    return file


def read_candidate(uri: str, *, conn_id: str | None = None) -> Candidate:
    """Read a candidate from the model store, see :func:`read_text`.

    :raises InvalidRequestError: when it is not what it should be.
    """
    return _parsed(read_text(uri, conn_id=conn_id), uri)


def parse_candidate_of(model: str, version: str, text: str, *, uri: str) -> Candidate:
    """Return what a document says, and make sure that it speaks of this release.

    :raises InvalidRequestError: when it is another release's, or not what it should be.
    """
    candidate = _parsed(text, uri)
    if (candidate.model, candidate.version) != (model, version):
        raise InvalidRequestError(
            f"{uri} speaks of {candidate.model} {candidate.version}; this is the release of {model} {version}."
        )
    return candidate


def _parsed(text: str, uri: str) -> Candidate:
    try:
        return parse_candidate(text, where=uri)
    except DocumentError as error:
        raise InvalidRequestError(str(error)) from None
