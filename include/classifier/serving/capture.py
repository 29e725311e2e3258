"""Hands requests over to what captures them, where the server that loads this archive has such.

That is no part of the archive: which requests are kept, and how, is decided where they are served. Nothing here may
keep a request from its answer.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .protocol import Request

_log = logging.getLogger(__name__)

#: Of the environment: the record of how each version is served, and the folder to import ``include`` from.
_RECORD, _CODE = "MODEL_CAPTURE_RECORD", "MODEL_CAPTURE_CODE"


def capture_of(model: str, version: str, folder: Path) -> Any:
    """Return what captures requests of a version, ``None`` where nothing does.

    :param folder: of the unpacked archive.
    """
    record, code = os.environ.get(_RECORD), os.environ.get(_CODE)
    if not record or not code:
        return None
    if code not in sys.path:
        sys.path.append(code)  # behind everything else
    try:
        recorded = importlib.import_module("include.capture.recorded")
        return recorded.RecordedCapture(Path(record), "torchserve").of(model, version, folder)
    except Exception as error:
        _log.error("Requests are not captured: %s", type(error).__name__)
        return None


def take(
    capture: Any, request: Request, answer: str, parameters: Mapping[str, Any], context: Any, index: int, began: float
) -> None:
    """Hand an answered request over.

    :param capture: from :func:`capture_of`.
    :param parameters: of the request, as TorchServe gives them.
    :param began: when the handler got it, by the monotonic clock.
    """
    try:
        if not capture.wants():
            return
        headers = {str(name).lower(): value for name, value in context.get_all_request_header(index).items()}
        body = parameters.get("body")
        is_v1 = isinstance(body, Mapping) and "instances" in body
        capture.take(
            ids=(headers.get("x-request-id"), request.request_id, context.get_request_id(index)),
            opt_out=headers.get("x-capture"),
            protocol="v2" if request.is_v2 else "v1" if is_v1 else "raw",
            latency_ms=1000 * (time.monotonic() - began),
            answer=answer,
            texts=request.texts,
        )
    except Exception as error:
        _log.error("A request is not captured: %s", type(error).__name__)
