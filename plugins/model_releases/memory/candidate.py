"""What the training pipeline says about the model it made (``candidate.json``), as far as operators need it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenExample:
    """A text with the answer that the packed model gave when it was made."""

    text: str
    label: str
    probabilities: Mapping[str, float]

    def __repr__(self) -> str:
        """Leave the text out: it is a user's, and a representation ends up in logs."""
        return f"GoldenExample(label={self.label!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A packed model and the evidence about it.

    :param metrics: ``candidate``, ``champion`` (``None`` before the first release) and ``baseline``, on the same rows.
    :param report_uri: the evaluation's report in the model store; empty in documents of earlier versions.
    :param held_out_texts: evaluation rows to watch a rollout with; empty in documents of earlier versions.
    :param document: the whole document.
    """

    model: str
    version: str
    archive_uri: str
    archive_sha256: str
    metrics: Mapping[str, Mapping[str, Any] | None]
    golden_examples: Sequence[GoldenExample]
    document: Mapping[str, Any]
    held_out_texts: Sequence[str] = ()
    report_uri: str = ""

    def __repr__(self) -> str:
        """Leave the document out: it holds users' texts."""
        return f"Candidate(model={self.model!r}, version={self.version!r})"

    @classmethod
    def from_document(cls, document: Any, *, where: str) -> Candidate:
        """Read the document.

        :param where: its URI, for the error message.
        :raises InvalidRequestError: naming the field that is missing or of the wrong type.
        """
        try:
            return cls(
                model=str(document["model"]),
                version=str(document["version"]),
                archive_uri=str(document["archive"]["uri"]),
                archive_sha256=str(document["archive"]["sha256"]),
                metrics={name: document["metrics"][name] for name in ("candidate", "champion", "baseline")},
                golden_examples=tuple(
                    GoldenExample(
                        text=example["text"],
                        label=example["label"],
                        probabilities={name: float(value) for name, value in example["probabilities"].items()},
                    )
                    for example in document["golden_examples"]
                ),
                held_out_texts=tuple(document.get("held_out_texts", ())),
                report_uri=str(document.get("report_uri") or ""),
                document=document,
            )
        except KeyError as error:
            raise InvalidRequestError(f"{where}: field {error} is missing.") from None
        except (TypeError, ValueError, AttributeError):
            raise InvalidRequestError(f"{where}: a field is of the wrong type.") from None

    @classmethod
    def read(cls, uri: str, *, conn_id: str | None = None) -> Candidate:
        """Read ``candidate.json`` from the model store.

        :param uri: for example ``s3://models/reviews/20261121030000/candidate.json``.
        :param conn_id: Airflow connection for the store; empty or ``None`` where it needs none.
        :raises ServiceUnavailableError: when it cannot be read.
        :raises InvalidRequestError: when it is not what it should be.
        """
        from airflow.sdk import ObjectStoragePath

        try:
            text = ObjectStoragePath(uri, conn_id=conn_id or None).read_text(encoding="utf-8")
        except OSError as error:
            raise ServiceUnavailableError(f"{uri} cannot be read: {error.strerror or error}.") from error
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidRequestError(f"{uri} is not JSON: {error.msg} in line {error.lineno}.") from error
        return cls.from_document(document, where=uri)
