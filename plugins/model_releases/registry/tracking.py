"""Where training writes its metrics, as a connection to a registry says it."""

from __future__ import annotations

from include.contracts.rules.addresses import parsed, without_secrets
from kubeflow_provider.exceptions import InvalidRequestError


def tracking_address(conn_id: str, uri: str) -> str:
    """Return the address without credentials.

    :param conn_id: the connection, for the message.
    :param uri: its field ``tracking_uri``.
    :raises InvalidRequestError: for what is neither a file nor a server.
    """
    parts = parsed(uri)
    if parts.scheme in ("http", "https") and parts.hostname:
        return without_secrets(uri).rstrip("/")
    if parts.scheme == "sqlite" and parts.path.startswith("//"):
        return uri
    # Another database would need its password in the URI, and the URI is a parameter of every training run.
    raise InvalidRequestError(
        f"Connection {conn_id!r}: tracking_uri must be `sqlite:////absolute/path.db` or the URL of an MLflow server."
    )
