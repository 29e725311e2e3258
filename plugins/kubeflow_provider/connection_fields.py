"""Reads a connection's fields and names everything that is wrong with them at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError

_FLAGS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


class ConnectionFields:
    """A connection whose fields are read one by one; what is wrong is collected until :meth:`check` is called.

    A form leaves empty text in fields that nobody filled in, so empty means absent. No message repeats what stands
    in a field: it may be a secret that somebody pasted into the wrong one.

    :param connection: Airflow connection.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.conn_id = connection.conn_id
        self.login = connection.login or ""
        self.password = connection.password or ""
        self.problems: list[str] = []
        self._extra = self._read_extra()

    def _read_extra(self) -> dict[str, Any]:
        # Not `extra_dejson`: to mask secrets it calls the supervisor, which stops the triggerer's event loop.
        try:
            extra = json.loads(self.connection.extra or "{}")
        except ValueError:
            extra = None
        if isinstance(extra, dict):
            return extra
        self.problems.append("extra: a JSON object is needed")
        return {}

    def text(self, name: str, default: str = "") -> str:
        """Return an extra field as text."""
        value = self._extra.get(name)
        return default if value is None or value == "" else str(value).strip()

    def required(self, name: str, purpose: str) -> str:
        """Return an extra field that must be there.

        :param purpose: what it is needed for, for the message.
        """
        if not (value := self.text(name)):
            self.problems.append(f"{name}: missing; {purpose}")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return an extra field that must be one of a few words."""
        if (value := self.text(name, default).lower()) in choices:
            return value
        self.problems.append(f"{name}: must be one of {', '.join(choices)}")
        return default

    def flag(self, name: str, default: bool) -> bool:
        """Return an extra field as yes or no; connections from the environment hold text."""
        value = _FLAGS.get(self.text(name, str(default)).lower())
        if value is None:
            self.problems.append(f"{name}: must be true or false")
            return default
        return value

    def seconds(self, name: str, default: float) -> float:
        """Return an extra field as a positive number of seconds."""
        try:
            value = float(self.text(name, str(default)))
        except ValueError:
            value = 0.0
        if 0 < value < float("inf"):
            return value
        self.problems.append(f"{name}: must be a number of seconds above 0")
        return default

    def path(self, name: str) -> str | None:
        """Return an extra field as the path of something that exists on this machine, ``None`` when it is empty."""
        value = self.text(name)
        if not value:
            return None
        if not Path(value).exists():
            self.problems.append(f"{name}: there is no such file where this process runs")
        return value

    def absolute_path(self, name: str, *, required: bool = True) -> Path | None:
        """Return an extra field as an absolute path, which need not exist yet.

        :return: ``None`` when the field is empty, or wrong.
        """
        value = self.text(name)
        if Path(value).is_absolute():
            return Path(value)
        if value or required:
            self.problems.append(f"{name}: an absolute path is needed")
        return None

    def digest(self) -> str:
        """Return what tells this connection, as it is now, from every other and from itself with other fields."""
        connection = self.connection
        address = (connection.host, connection.schema, connection.port)
        parts = (self.conn_id, *address, self.login, self.password, connection.extra)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def check(self) -> None:
        """Raise what was found.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        if self.problems:
            raise InvalidRequestError(f"Connection {self.conn_id!r}: {'; '.join(self.problems)}.")
