"""The two documents that cross the wall between the halves. Both sides check them against the same schema."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator

Kind = Literal["dataset", "candidate"]


class DocumentError(ValueError):
    """A document does not follow its schema; the message names the document and every place that is wrong."""


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    schema = json.loads(Path(__file__).with_name(f"{kind}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def check(kind: Kind, document: Any, *, where: str) -> dict[str, Any]:
    """Return the document when it follows its schema.

    :param where: the document's URI, for the error message.
    :raises DocumentError: listing every place that is wrong, without the values that stand there.
    """
    problems = sorted(_validator(kind).iter_errors(document), key=lambda error: error.json_path)
    if problems:
        # A validator's own message repeats the value, which may be a user's text.
        places = "; ".join(f"{error.json_path} breaks {error.validator!r}" for error in problems[:5])
        raise DocumentError(f"{where} is not a valid {kind}.json: {places}.")
    return document


def parse(kind: Kind, text: str, *, where: str) -> dict[str, Any]:
    """Parse and check a document.

    :raises DocumentError: when it is not JSON or breaks its schema.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(f"{where} is not JSON: {error.msg} in line {error.lineno}.") from error
    return check(kind, document, where=where)


def dump(kind: Kind, document: dict[str, Any], *, where: str) -> str:
    """Check a document and return its text.

    :raises DocumentError: when it breaks its schema.
    """
    return json.dumps(check(kind, document, where=where), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
