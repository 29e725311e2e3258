"""Errors as the API server answers them."""

from __future__ import annotations

from typing import Any

#: gRPC code -> HTTP status, as grpc-gateway maps them.
_HTTP_STATUS = {3: 400, 5: 404, 6: 409, 7: 403, 10: 409, 13: 500, 14: 503, 16: 401}

INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, ABORTED, INTERNAL = 3, 5, 6, 7, 10, 13
UNAVAILABLE, UNAUTHENTICATED = 14, 16


class ApiError(Exception):
    """A request that the API server refuses.

    :param code: gRPC code.
    :param external: what users are meant to read; for internal errors the server hides it.
    :param chain: what the server puts before it in ``message``.
    """

    def __init__(self, code: int, external: str, *, chain: str = "Failed to handle the request") -> None:
        super().__init__(external)
        self.code = code
        self.external = "Internal Server Error" if code == INTERNAL else external
        self.message = f"{chain}: {external}"

    @property
    def http_status(self) -> int:
        """HTTP status of the answer."""
        return _HTTP_STATUS[self.code]

    def body(self, *, old_gateway: bool) -> dict[str, Any]:
        """Return the JSON body; servers up to 2.5 say ``error`` as well."""
        status = {"@type": "type.googleapis.com/google.rpc.Status", "code": self.code, "message": self.external}
        body = {"code": self.code, "message": self.message, "details": [status]}
        return body | ({"error": self.message} if old_gateway else {})


class GatewayError(ApiError):
    """A request that its HTTP gateway refuses, in fewer words."""

    def body(self, *, old_gateway: bool) -> dict[str, Any]:
        """Return the JSON body, which has no details."""
        return {name: value for name, value in super().body(old_gateway=old_gateway).items() if name != "details"}


class UploadError(Exception):
    """A refused upload: those endpoints are plain HTTP and have a form of their own."""

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status

    def body(self) -> dict[str, str]:
        """Return the JSON body."""
        return {"error_message": str(self), "error_details": f"Error: {self}"}
