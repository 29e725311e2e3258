"""Records events as the parts of a cluster do: the same thing said again only counts up."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.resources import EVENTS
from tests.doubles.kubernetes.store import Store


def record(
    store: Store, about: dict[str, Any], reason: str, message: str, *, kind: str = "Normal", source: str = "kubelet"
) -> None:
    """Write an event about an object.

    :param kind: ``Normal`` or ``Warning``.
    :param source: the component that says it.
    """
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "default")
    digest = hashlib.sha256(f"{metadata['uid']}{reason}{message}".encode()).hexdigest()[:16]
    name, now = f"{metadata['name']}.{digest}", timestamp()

    def again(event: dict[str, Any]) -> None:
        event |= {"count": event["count"] + 1, "lastTimestamp": now}

    if store.change(EVENTS, namespace, name, again):
        return
    event = {
        "metadata": {"name": name},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "reportingComponent": source,
        "reportingInstance": "",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "eventTime": None,
    }
    # Its namespace may be gone, and another thread may say the same at the same moment.
    with contextlib.suppress(ApiError):
        store.create(EVENTS, event, namespace)
