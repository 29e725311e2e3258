"""What a run has told of its model: by its outputs, or by one document that another team's pipeline writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from include.contracts.documents import DocumentError
from include.contracts.kinds.kubeflow_settings import OutputsConfig, RequestsConfig
from include.contracts.kinds.pipeline_outputs import PipelineModel
from include.contracts.rules.addresses import without_secrets
from include.contracts.section import problems
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.kinds.kubeflow_model.collecting import uri_of
from model_releases.memory.published_model import CopiedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run has told, from wherever.

    :param outputs: see :mod:`kubeflow_provider.run_outputs`.
    :param asked: which of them are what.
    :param smoke_test: what the model has to answer, the pipeline's own requests included.
    :param model_sha256: that the model must have; ``None``: any.
    """

    outputs: Mapping[str, Any]
    asked: OutputsConfig
    smoke_test: RequestsConfig
    model_sha256: str | None = None


def told(
    outputs: Mapping[str, Any], asked: OutputsConfig, smoke_test: RequestsConfig, read: Callable[[str], str]
) -> Told:
    """Return what a run has told, out of its document where there is one.

    :param read: returns the text of a file by its URI.
    :raises InvalidRequestError: when there should be a document, and it is missing or not what it should be.
    """
    if asked.document is None:
        return Told(outputs=outputs, asked=asked, smoke_test=smoke_test)
    uri = uri_of(outputs, asked, asked.document, setting="document")
    try:
        found = PipelineModel.parse(read(uri), where=without_secrets(uri))
    except DocumentError as error:
        raise InvalidRequestError(
            f"{error} What may stand there is in include/contracts/pipeline-model.schema.json."
        ) from None
    names = {"model": "model", "metrics": "metrics", "predictions": "predictions" if found.predictions else None}
    return Told(
        outputs=found.outputs(),
        asked=asked.model_copy(update=names),
        smoke_test=_with_requests(smoke_test, found),
        model_sha256=found.model_sha256,
    )


def insist_on_what_was_made(digest: str, files: Mapping[str, CopiedFile], expected: str | None) -> None:
    """Make sure that what is served is what the pipeline has made.

    :param digest: of the whole, see :func:`~model_releases.kinds.kubeflow_model.collecting.digest_of`.
    :param files: what was copied; empty for a model that is served as it is.
    :param expected: the digest that its document says; ``None``: any.
    :raises InvalidRequestError: when it is something else.
    """
    alone = [file.sha256 for file in files.values()] if len(files) == 1 else []
    if expected is not None and expected not in (digest, *alone):
        raise InvalidRequestError(
            f"The model has another SHA-256 than the pipeline's document says ({expected}): somebody has written to it "
            "since. Start the release again."
        )


def _with_requests(smoke_test: RequestsConfig, found: PipelineModel) -> RequestsConfig:
    asked = smoke_test.model_dump()
    asked["requests"] = [*asked["requests"], *(each.model_dump() for each in found.requests)]
    asked["refused"] = [*asked["refused"], *found.refused]
    try:
        return RequestsConfig.model_validate(asked)
    except ValidationError as error:
        raise InvalidRequestError(f"The pipeline's requests are too many, or none: {problems(error)}.") from None
