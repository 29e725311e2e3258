"""What is taken out of a record before it is kept: who and where it was, and what nobody reads in it again.

* Ids and digests become numbered ones, the same for the same, so that who belongs to whom can still be read.
* Addresses, hosts, users, images' registries and the names that the caller gives become made-up ones.
* Lists keep as many of their rows as ``ROWS`` says, a run in a list loses its steps, and what ``CUT`` names is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

#: How many rows of a list are kept; the others are like them.
ROWS = {"runs": 1, "experiments": 1, "pipelines": 1, "pipeline_versions": 1, "items": 1}

#: Fields of which only the name is kept, ones that are dropped, and ones that a run in a list loses.
CUT = frozenset({"pipeline_spec"})
DROPPED = frozenset({"managedFields"})
DROPPED_IN_LISTS = frozenset({"run_details", "tasks", "state_history"})

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_NO_ID = "00000000-0000-4000-8000-000000000000"
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?=$|[\s\"':/,\])])")
_HOST = re.compile(r"(https?|minio|s3)://[^/\s\"']+")
_SERVED_HOST = re.compile(r"http://([a-z0-9-]+)\.(?:[a-z0-9-]+\.svc\.cluster\.local|example\.com)$")
_USER = re.compile(r"\bUser '[^']*'")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_IMAGE = re.compile(r"^[\w.:/-]+/([\w.-]+:[\w.-]+)$")


class Replacer:
    """Replaces in one record; what is the same there stays the same.

    :param names: name -> made-up name, for example the namespace's; the longest is replaced first.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = sorted((names or {}).items(), key=lambda item: -len(item[0]))
        self._ids: dict[str, str] = {_NO_ID: _NO_ID}
        self._digests: dict[str, str] = {}

    def document(self, document: Any, *, field: str = "", is_row: bool = False) -> Any:
        """Return a document without what is personal in it, and shortened."""
        if isinstance(document, dict):
            left_out = DROPPED | DROPPED_IN_LISTS if is_row else DROPPED
            return {
                self.text(key): "cut" if key in CUT else self.document(value, field=key)
                for key, value in document.items()
                if key not in left_out
            }
        if isinstance(document, list):
            rows = document[: ROWS.get(field, len(document))]
            return [self.document(row, is_row=field in ROWS and "run_id" in row) for row in rows]
        if not isinstance(document, str):
            return document
        if field in ("next_page_token", "resourceVersion") and document:
            return "1"
        if field in ("image", "imageID"):
            document = _IMAGE.sub(r"registry.example.com/team/\1", document)
        return "node" if field == "nodeName" else self.text(document)

    def text(self, text: str) -> str:
        """Return a text without ids, addresses and names."""
        for name, made_up in self._names:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", made_up, text)
        text = _ID.sub(_numbered(self._ids, f"{_NO_ID[:-3]}{{:03}}"), text)
        text = _DIGEST.sub(_numbered(self._digests, "{:064x}"), text)
        text = _USER.sub("User 'system:serviceaccount:team:airflow-releases'", text)
        text = _MAIL.sub("somebody@example.com", text)
        text = text if _SERVED_HOST.match(text) else _HOST.sub(r"\1://store.example.com", text)
        return _ADDRESS.sub("192.0.2.10", text)


def _numbered(known: dict[str, str], form: str) -> Callable[[re.Match[str]], str]:
    return lambda match: known.setdefault(match[0], form.format(len(known) + 1))


def written(document: Any) -> str:
    """Return a record as it is kept: a line for each small object, so that a change of one shows as one."""
    return _written(document, "") + "\n"


def _written(document: Any, indent: str) -> str:
    flat = json.dumps(document, ensure_ascii=False)
    if len(indent) + len(flat) <= 118 or not document or not isinstance(document, dict | list):
        return flat
    inner = indent + " "
    if isinstance(document, list):
        rows = [inner + _written(row, inner) for row in document]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    entries = [f"{inner}{json.dumps(key)}: {_written(value, inner)}" for key, value in document.items()]
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
