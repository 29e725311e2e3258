"""The tables: what was made, found by id and by name."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.doubles.model_registry.errors import ApiError
from tests.doubles.model_registry.kinds import ARTIFACT, Kind


@dataclass(slots=True, kw_only=True)
class Row:
    """One thing. ``parent`` is the id of what it belongs to, empty for none."""

    kind: str
    id: int
    fields: dict[str, Any]
    parent: str = ""
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: int = 0
    updated: int = 0

    def document(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        document = {name: value for name, value in self.fields.items() if value is not None}
        document |= {"id": str(self.id), "customProperties": {name: dict(value) for name, value in self.shown()}}
        document |= {"createTimeSinceEpoch": str(self.created), "lastUpdateTimeSinceEpoch": str(self.updated)}
        return document

    def shown(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield its properties; two names are kept back, and what has no value is not kept."""
        hidden = ("experiment_id", "experiment_run_id")
        yield from ((name, value) for name, value in self.properties.items() if name not in hidden and len(value) > 1)


class Store:
    """All rows. Contexts (models, versions, environments, services) share a sequence of ids, artifacts have their own.

    :ivar rows: (kind's path, id) -> row.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Row] = {}
        self.lock = threading.RLock()
        self._last = {"contexts": 0, "artifacts": 0}
        self._now = 0

    def of(self, kind: Kind, parent: str = "") -> list[Row]:
        """Return the rows of a kind, those of one parent where it is given."""
        return [row for row in self.rows.values() if row.kind == kind.path and parent in ("", row.parent)]

    def get(self, kind: Kind, text: str) -> Row:
        """Return the row of an id.

        :raises ApiError: when it is no number, or nobody's.
        """
        if not re.fullmatch(r"-?\d+", text):
            words = f'invalid {kind.words} ID: strconv.ParseInt: parsing "{text}": invalid syntax'
            raise ApiError(400, words)
        row = self.rows.get((kind.path, int(text)))
        if row is None:
            raise ApiError(404, f"no {kind.words} found for id {text}")
        return row

    def add(self, kind: Kind, fields: dict[str, Any], parent: str) -> Row:
        """Make a row.

        :raises ApiError: when its name is taken there; the id is used up all the same.
        """
        table = "artifacts" if kind is ARTIFACT else "contexts"
        self._last[table] += 1
        properties = fields.pop("customProperties", None) or {}
        fields.setdefault("name", str(uuid4()))
        name, external = fields["name"], fields.get("externalId")
        taken = any(row.fields["name"].lower() == name.lower() for row in self.of(kind) if row.parent == parent)
        if external and any(row.fields.get("externalId") == external for row in self.rows.values()):
            taken = True
        if taken:
            raise ApiError(409, f"{kind.words} with name {name} already exists")
        now = self.now()
        row = Row(
            kind=kind.path,
            id=self._last[table],
            fields=fields,
            parent=parent,
            properties=properties,
            created=now,
            updated=now,
        )
        self.rows[kind.path, row.id] = row
        return row

    def find(self, kind: Kind, query: dict[str, str]) -> Row:
        """Look up by name with LIKE, or by external id.

        :raises ApiError: when there is none, or more than one.
        """
        name, external = query.get("name", ""), query.get("externalId", "")
        parent = query.get("parentResourceId", "")
        if not name and not external:
            raise ApiError(400, "invalid parameters call, supply either name or externalId")
        found = [
            row
            for row in self.of(kind, parent)
            if (not name or like(name, row.fields["name"]))
            and (not external or row.fields.get("externalId") == external)
        ]
        asked = f"name={name}, externalId={external}"
        if kind.parent:
            asked = f"name={name}, parentResourceId={parent}, externalId={external}"
        if len(found) != 1:
            raise ApiError(404, f"{'multiple' if found else 'no'} {kind.words}s found for {asked}")
        return found[0]

    def now(self) -> int:
        """Return the milliseconds since the epoch; two calls never get the same."""
        self._now = max(self._now + 1, int(time.time() * 1000))
        return self._now


def like(pattern: str, text: str) -> bool:
    """Say whether a text fits as SQL's LIKE has it, in a collation that knows no case."""
    expression = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None
