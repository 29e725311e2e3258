"""Remembers every alert until long after all of its receivers have it.

One Airflow Variable for each alert: whatever runs anywhere in Airflow can write one (tasks, the callbacks of DAGs, the
triggerer), two alerts never write the same one, and they can be listed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.sdk import Variable

from model_releases.alerts.alert import Alert

#: Beginning of the Variables' names. Renaming it loses the alerts that wait and sends those of today's runs again.
PREFIX = "release_alert."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An alert on its way.

    :param conn_id: connection that names its receivers.
    :param made_at: when it was first to be sent.
    :param busy_until: a process is sending it; when it has not come back by then, it has died.
    :param told: digests of the receivers that have it.
    :param is_settled: nobody is left to tell; kept so that it is not sent again.
    """

    alert: Alert
    conn_id: str
    made_at: datetime
    busy_until: datetime
    told: tuple[str, ...] = ()
    is_settled: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return {
            "alert": self.alert.to_json(),
            "conn_id": self.conn_id,
            "made_at": self.made_at.isoformat(),
            "busy_until": self.busy_until.isoformat(),
            "told": list(self.told),
            "is_settled": self.is_settled,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Entry:
        """Read what :meth:`to_json` wrote."""
        return cls(
            alert=Alert.from_json(document["alert"]),
            conn_id=document["conn_id"],
            made_at=datetime.fromisoformat(document["made_at"]),
            busy_until=datetime.fromisoformat(document["busy_until"]),
            told=tuple(document["told"]),
            is_settled=document["is_settled"],
        )


def find(key: str) -> Entry | None:
    """Return the entry of an alert's key."""
    return _read(_name(key))


def put(entry: Entry) -> None:
    """Write an entry, over the one with the same key."""
    state = "sent" if entry.is_settled else "waiting"
    Variable.set(_name(entry.alert.key), json.dumps(entry.to_json()), f"Alert, {state}: {entry.alert.title}"[:500])


def drop(entry: Entry) -> None:
    """Forget an entry: its alert would be sent again."""
    Variable.delete(_name(entry.alert.key))


def entries() -> Iterator[Entry]:
    """Yield every entry that can be read, in no order."""
    for name in list(Variable.keys(prefix=PREFIX)):
        if entry := _read(name):
            yield entry


def _read(name: str) -> Entry | None:
    text = Variable.get(name, default=None)
    if text is None:
        return None
    try:
        return Entry.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        log.error("The Variable %r is no alert; somebody has changed it. Delete it.", name)
        return None


def _name(key: str) -> str:
    # Not the key itself: a Variable's name has at most 250 characters.
    return f"{PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:32]}"
