"""The section ``predictions`` of a model's YAML, and what its form may have written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from include.contracts.rules.addresses import secrets_of, without_secrets
from include.contracts.rules.allowed_sources import is_allowed
from include.contracts.section import Section

#: Settings of a model's section ``data`` by which a row becomes a text; addresses are none of them.
READING = frozenset(
    ("text_column", "text_separator", "label_column", "labels", "encoding", "unescape", "max_text_characters")
)


class PredictionsConfig(Section):
    """How tables are scored."""

    allowed_outputs: list[str] = Field(
        [],
        description="Folders that the form of the batch prediction may write to besides `predictions/` in the model's "
        "own folder of the store, such as `s3://bucket/scores`.",
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1,
        description="Steps that score side by side: pods in a cluster, of which each has the model's `resources`; on "
        "one machine processes that share its CPUs, at most two at a time.",
    )
    shard_rows: Annotated[int, Field(ge=1)] = Field(
        20_000, description="Rows of one output file. What was interrupted begins again with a file that is not whole."
    )
    timeout_hours: Annotated[float, Field(gt=0)] = Field(12, description="The run is cancelled after this.")


def refused_output(uri: str, allowed: Sequence[str]) -> str:
    """Return why nothing is written to a folder on behalf of a form, in a sentence; empty when it may be.

    :param allowed: folders, see :func:`include.contracts.rules.allowed_sources.is_allowed`.
    """
    if not uri.strip():
        return "The output is empty: name the folder to write to."
    if secrets_of(uri):
        return (
            f"{without_secrets(uri)}: no user, password or signature belongs into the address of the output; give them "
            "to the steps as `cluster.secrets`."
        )
    if not is_allowed(uri, allowed):
        return (
            f"{without_secrets(uri)} is not written on behalf of a form: the model's YAML does not name it. Name its "
            "folder in `predictions.allowed_outputs`, or start it with `make predict`."
        )
    return ""
