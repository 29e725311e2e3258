"""Headers of the requests that a release asks a model: whoever captures what users send leaves these out."""

from __future__ import annotations

from uuid import uuid4

#: For whatever captures requests beside a model's server.
UNCAPTURED = {"X-Capture": "off"}

#: KServe's logger passes no headers on, but calls its events as a request's ``Ce-Id`` says: ids that begin so are left
#: out by whoever receives them.
UNCAPTURED_ID = "uncaptured-"


def uncaptured_headers() -> dict[str, str]:
    """Return the headers of one request in a cluster."""
    return {**UNCAPTURED, "Ce-Id": f"{UNCAPTURED_ID}{uuid4()}"}
