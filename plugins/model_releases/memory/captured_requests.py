"""Requests that users have sent, as they can be sent again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from include.contracts.monitoring.captured import CapturedRequest, ReadingCounts
from include.contracts.monitoring.newest import newest_requests
from include.contracts.monitoring.shadow_settings import BesideLive

log = logging.getLogger(__name__)

#: Of captured files that are read; fewer than a pipeline reads, because this may be a triggerer.
_MOST_BYTES = 20_000_000


def newest_bodies(
    asked_again: Callable[[CapturedRequest], bytes | None], policy: BesideLive, *, conn_id: str | None
) -> list[bytes]:
    """Return the newest captured requests, whoever has answered them, the newest first; what cannot be read is none.

    :param asked_again: returns one as it can be sent, ``None`` where too little of it was kept.
    :param conn_id: Airflow connection for the model store, where it needs one.
    """
    from airflow.sdk import ObjectStoragePath

    try:
        found = newest_requests(
            ObjectStoragePath(policy.store_uri, conn_id=conn_id or None),
            None,
            most=policy.requests,
            back_days=policy.days,
            now=datetime.now(UTC),
            can_be_asked=lambda request: asked_again(request) is not None,
            counts=ReadingCounts(),
            most_bytes=_MOST_BYTES,
            most_held_bytes=_MOST_BYTES,
        )
    except OSError as error:
        log.warning("Captured requests cannot be read, and are left out: %s", type(error).__name__)
        return []
    return [body for request in found.requests if (body := asked_again(request)) is not None]
