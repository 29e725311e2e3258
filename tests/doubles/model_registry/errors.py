"""Errors as the registry answers them."""

from __future__ import annotations

_CODES = {400: "Bad Request", 404: "Not Found", 409: "Conflict", 410: "Gone", 422: "Bad Request"}
_ENDINGS = {400: ": bad request", 404: ": not found", 409: ": conflict"}


class ApiError(Exception):
    """A request that is refused.

    :param is_wrapped: whether its message ends in the kind of the error, as that of the server's inner parts does.
    """

    def __init__(self, status: int, message: str, *, is_wrapped: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.message = f"{message}{_ENDINGS.get(status, '')}" if is_wrapped else message

    def body(self) -> dict[str, str]:
        """Return the JSON body."""
        return {"code": _CODES[self.status], "message": self.message}
