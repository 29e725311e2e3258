"""A token that something else keeps fresh in a file, as Kubernetes does in a projected volume."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.http.authentication.flow import Credential, RenewableAuth, Steps, header_problem, mask_renewed
from kubeflow_provider.http.settings import HttpSettings

#: Where Kubeflow's PodDefault puts the token, and the variable that says so.
_DEFAULT_PATH = "/var/run/secrets/kubeflow/pipelines/token"
_PATH_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"


@dataclass(frozen=True, slots=True, eq=False)
class FileToken(Credential):
    """:param changed_at: modification time of the file when it was read, in nanoseconds."""

    changed_at: int = 0


class TokenFile(RenewableAuth):
    """Sends what stands in a file as bearer token; reads it again when it has changed, and when it was refused.

    :param path: of the file; it need not exist before the first request.
    :param conn_id: connection, for messages.
    """

    def __init__(self, path: str, *, conn_id: str) -> None:
        super().__init__(hint=f"Connection {conn_id!r} reads its token from {path}: see whether that is kept fresh.")
        self._path = Path(path)
        self._conn_id = conn_id

    def obtain(self, request: httpx.Request) -> Steps[Credential]:
        """Read the file."""
        yield from ()  # there is nothing to wait for
        try:
            changed_at, token = self._path.stat().st_mtime_ns, self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequestError(
                f"Connection {self._conn_id!r}: token_file {self._path} cannot be read ({type(error).__name__}); "
                "the token must be mounted wherever Airflow's workers and triggerer run."
            ) from None
        if problem := header_problem(token):
            raise InvalidRequestError(f"Connection {self._conn_id!r}: token_file {self._path} {problem}.")
        mask_renewed(token)
        return FileToken(token, changed_at=changed_at)

    def is_usable(self, credential: Credential) -> bool:
        """Tell whether the file is still the one that was read."""
        try:
            return isinstance(credential, FileToken) and self._path.stat().st_mtime_ns == credential.changed_at
        except OSError:
            return False

    def apply(self, credential: Credential, request: httpx.Request) -> None:
        """Put the token into the request."""
        request.headers["Authorization"] = f"Bearer {credential.value}"


def token_file(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode's field."""
    path = fields.text("token_file") or os.environ.get(_PATH_VARIABLE) or _DEFAULT_PATH
    return TokenFile(path, conn_id=fields.conn_id)
