"""Models that a cluster reads by their address alone: of the Hugging Face Hub, or an image of a registry.

Nobody copies them, so the address itself must stand for one content for good: a commit of the Hub, the digest of an
image. It is what was judged, and what is served.
"""

from __future__ import annotations

import hashlib
import re

from include.contracts.version.model_files import ModelFilesError

#: Beginnings of addresses that KServe reads, and nobody copies.
SCHEMES = ("hf://", "oci://")

_HUB = re.compile(r"hf://[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}:[0-9a-f]{40}", re.ASCII)
_IMAGE = re.compile(r"oci://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)+@sha256:([0-9a-f]{64})")
_LONGEST = 500


def is_served_as_it_is(uri: str) -> bool:
    """Tell whether a model is served from where it lies, and not copied."""
    return uri.startswith(SCHEMES)


def check_pinned(uri: str) -> str:
    """Make sure that an address stands for one content for good, and return it.

    :raises ModelFilesError: when what it leads to may change.
    """
    if len(uri) > _LONGEST or not (_HUB.fullmatch(uri) or _IMAGE.fullmatch(uri)):
        raise ModelFilesError(
            "the model's address may lead to something else tomorrow. Name a commit of the Hub, as "
            "hf://owner/name:<40 hexadecimal digits>, or the digest of an image, as oci://host/name@sha256:<64>"
        )
    return uri


def reference_digest(uri: str) -> str:
    """Return the hex SHA-256 that stands for a pinned model: an image's own, else that of its address."""
    found = _IMAGE.fullmatch(uri)
    return found[3] if found else hashlib.sha256(uri.encode()).hexdigest()
