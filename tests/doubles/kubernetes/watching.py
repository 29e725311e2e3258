"""Watches: a stream of changes from a resource version on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.doubles.kubernetes.clock import Clock
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.requests import Request, Target
from tests.doubles.kubernetes.resources import Resource
from tests.doubles.kubernetes.selectors import Matches
from tests.doubles.kubernetes.store import Change, Store

_BOOKMARK_EVERY_SECONDS = 1.0
_ASKS_EVERY_SECONDS = 0.2


class Watches:
    """All watches of a server. They can be cut, as a load balancer or a restarted API server cuts them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cut = 0

    def cut(self) -> None:
        """End every open watch without a word."""
        self._cut += 1

    def stream(self, request: Request, target: Target, matches: Matches) -> Iterator[str]:
        """Yield events as lines of JSON; an empty text now and then while nothing happens.

        A version that is too old is an event of the type ERROR in a 200, as real servers answer.
        """
        resource, namespace = target.resource, target.namespace
        cut, seconds = self._cut, request.number("timeoutSeconds")
        deadline = None if seconds is None else time.monotonic() + seconds
        next_bookmark = time.monotonic() + _BOOKMARK_EVERY_SECONDS
        since = request.number("resourceVersion") or 0
        if since == 0:
            with self._store.changed:
                since = self._store.version
                present = self._store.entries(resource, namespace)
            yield from (_line("ADDED", entry) for entry in present if matches(entry))
        while cut == self._cut and not self._clock.stopped:
            try:
                changes, since = self._wait(resource, since)
            except ApiError as error:
                yield _line("ERROR", error.status)
                return
            for change in changes:
                if not namespace or change.now["metadata"].get("namespace") == namespace:
                    yield from _seen(change, matches)
            if deadline is not None and time.monotonic() > deadline:
                return
            if request.flag("allowWatchBookmarks") and time.monotonic() > next_bookmark:
                next_bookmark = time.monotonic() + _BOOKMARK_EVERY_SECONDS
                yield _line("BOOKMARK", _bookmark(resource, since))
            yield ""

    def _wait(self, resource: Resource, since: int) -> tuple[list[Change], int]:
        with self._store.changed:
            changes = self._store.changes(resource, since)
            if not changes:
                self._store.changed.wait(_ASKS_EVERY_SECONDS)
                changes = self._store.changes(resource, since)
            return changes, self._store.version


def _seen(change: Change, matches: Matches) -> Iterator[str]:
    """Yield the change as a watch with a selector sees it: what stops matching is deleted, what starts is added."""
    now = change.type != "DELETED" and matches(change.now)
    before = change.before is not None and matches(change.before)
    if now:
        yield _line("MODIFIED" if before else "ADDED", change.now)
    elif before:
        yield _line("DELETED", change.now)


def _bookmark(resource: Resource, version: int) -> dict[str, Any]:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}


def _line(kind: str, entry: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "object": entry}) + "\n"
