"""What is answered instead of a prediction, in the form of TorchServe's own errors: ``code``, ``type``, ``message``.

No message repeats anything of a request, the path included: answers may be logged by whoever asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: After these a client for whose request there was no room may come again.
RETRY_AFTER_SECONDS = 5


class Refusal(Exception):
    """An answer that is no prediction.

    :param status: HTTP status.
    :param kind: becomes ``type``.
    :param message: what to change.
    :param headers: of the answer.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """JSON."""
        return json.dumps({"code": self.status, "type": self.kind, "message": self.message}).encode()


def from_archive(error: Any) -> Refusal:
    """Return what the archive's code refuses: its ``BadRequest``, with a status, a kind and a message."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.code == 503 else {}
    return Refusal(error.code, error.kind, str(error), headers)


def not_found() -> Refusal:
    """Return the answer at a path that is none."""
    return Refusal(404, "ResourceNotFoundException", "There is nothing at this path: /openapi.json lists what is.")


def other_model(model: str) -> Refusal:
    """Return the answer to somebody who asks for another model than the one that is served."""
    return Refusal(404, "ModelNotFoundException", f"Model not found: {model} is the one that is served here.")


def other_version(model: str, version: str) -> Refusal:
    """Return the answer to somebody who asks for another version."""
    return Refusal(
        404, "ModelVersionNotFoundException", f"Model version not found: {model} is served in version {version}."
    )


def wrong_method(allowed: str) -> Refusal:
    """Return the answer to a method that a path does not have.

    :param allowed: as the header ``Allow`` lists them.
    """
    message = f"Requested method is not allowed: use {allowed}."
    return Refusal(405, "MethodNotAllowedException", message, {"Allow": allowed})


def body_too_large(most_bytes: int) -> Refusal:
    """Return the answer to a body of which no more is read."""
    message = f"The body has more than {most_bytes:,} bytes: send fewer or shorter texts in one request."
    # The connection stays open: the rest of the body is thrown away as it comes. Who is still sending when it is closed
    # would never read this answer.
    return Refusal(413, "RequestTooLargeException", message)


def body_too_slow(seconds: float) -> Refusal:
    """Return the answer to a body that does not come."""
    message = f"The body was not there after {seconds:.0f} s: send it again over a faster connection."
    return Refusal(408, "RequestTimeoutException", message, {"Connection": "close"})


def wrong_media_type() -> Refusal:
    """Return the answer to a body in a form that holds no texts for this server."""
    message = (
        'Send {"instances": ["a text", ...]} as application/json, without a Content-Encoding: '
        "forms of several parts, pictures, sound and compressed bodies are not read here."
    )
    return Refusal(415, "UnsupportedMediaTypeException", message)


def busy() -> Refusal:
    """Return the answer where too many requests wait already."""
    message = f"Too many requests wait for the model: send this one again in {RETRY_AFTER_SECONDS} s."
    return Refusal(503, "ServiceUnavailableException", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def failed() -> Refusal:
    """Return the answer where the server itself is wrong."""
    return Refusal(500, "InternalServerException", "The server failed on this request; its log says where.")
