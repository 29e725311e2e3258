"""The documents that cross a wall: what they have in common, and how they are read.

``dataset.json`` and ``candidate.json`` cross the one between the halves and are defined by
:class:`include.contracts.dataset.Dataset` and :class:`include.contracts.candidate.Candidate`; ``release.json`` goes
from one installation to another: :class:`include.contracts.version.released.ReleaseDocument`; ``drift.json`` is what a
comparison of users' requests has found: :class:`include.contracts.monitoring.drift.DriftDocument`. The JSON Schemas
beside them are written from these classes (``make docs``), for whoever reads or writes them in another language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.contracts.section import problems

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern="^[0-9]{14}$")]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class DocumentError(ValueError):
    """A document is not what it should be; the message names the document and every place that is wrong."""


class Part(BaseModel):
    """A part of a document: nothing unknown, nothing of another type, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    #: What a representation shows: documents hold users' texts, and a representation ends up in logs.
    _shown: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        """Leave the texts out."""
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._shown)})"

    __str__ = __repr__


class Written(Part):
    """What stands in a file of JSON."""

    #: Its file.
    file: ClassVar[str]

    @classmethod
    def read(cls, document: Any, *, where: str) -> Self:
        """Return what a parsed document says.

        :param where: its URI, for the error message.
        :raises DocumentError: listing every place that is wrong, without the values that stand there.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise DocumentError(f"{where} is not a valid {cls.file}: {problems(error, most=5)}.") from None

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Return what a document says.

        :raises DocumentError: when it is not JSON, or not what it should be.
        """
        return cls.read(loads(text, where=where), where=where)

    @classmethod
    def dump(cls, document: Mapping[str, Any], *, where: str) -> str:
        """Check a document and return its text, which is always the same for the same document.

        :raises DocumentError: when it is not what it should be.
        """
        cls.read(document, where=where)
        return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


class Document(Written):
    """One of the documents."""

    schema_version: Literal[1]
    model: str
    created_at: str = Field(description="ISO 8601, UTC")


def loads(text: str, *, where: str) -> Any:
    """Return what a document holds, whatever it is.

    :param where: its URI, for the error message.
    :raises DocumentError: when it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{where} is not JSON: {error.msg} in line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or too deep
        raise DocumentError(f"{where} is no document of ours: {type(error).__name__}.") from error
