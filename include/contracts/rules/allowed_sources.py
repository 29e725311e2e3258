"""What the trigger form may read: places that the operator of the installation has named, and nothing else.

The form is filled in by whoever may start a release, and is read with the rights and in the network of a worker.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from include.contracts.queries import QUERY
from include.contracts.rules.addresses import parsed, without_secrets
from include.contracts.uris import local_path

_PROJECT_DIR = Path(__file__).parents[3]

#: Named by `make release`, whose user could read everything anyway.
EVERYTHING = "*"
#: Data sets and models of the Hub by their owner and name; a folder or a loader of the library is neither.
HUB = "hub:"
_HUB_ID = re.compile(r"hub:[\w-][\w.-]*/[\w-][\w.-]*(:[\w.\[\]:%+-]+)?", re.ASCII)
_HUB_MODEL = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_FILE = "file"
_CHAIN = "::"


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    path: str

    def holds(self, other: _Place) -> bool:
        if self.scheme != other.scheme:
            return False
        if not self.host and self.scheme != _FILE:
            return True
        inside = f"{other.path}/".removeprefix(f"{self.path.rstrip('/')}/")
        if self.host != other.host or inside == f"{other.path}/":
            return False
        # What is hidden in a folder is named by whoever means it, such as the state of this project.
        return self.scheme != _FILE or not any(name.startswith(".") for name in inside.split("/"))


def is_allowed(location: str, allowed: Iterable[str]) -> bool:
    """Tell whether something may be read.

    :param location: path, URI, or ``hub:owner/name[:split]``; a relative path counts from the project's folder.
    :param allowed: locations as they are, folders, ``scheme://host[/folder]``, ``scheme://`` for all that it reaches,
        :data:`HUB`, or :data:`EVERYTHING`.
    """
    allowed = list(allowed)
    if EVERYTHING in allowed or location in allowed:
        return True
    if location.startswith(HUB):
        return HUB in allowed and _HUB_ID.fullmatch(location) is not None
    place = _place(location)
    if place is None:
        return False
    # An address with a query stands for itself alone.
    return any(entry.holds(place) for name in allowed if "?" not in name and (entry := _place(name)))


def is_allowed_model(name: str, allowed: Iterable[str]) -> bool:
    """Tell whether a base model may be read: one of the Hub by its id, or a folder as :func:`is_allowed` has it."""
    return _HUB_MODEL.fullmatch(name) is not None or is_allowed(name, allowed)


def is_as_named(location: str, allowed: Iterable[str]) -> bool:
    """Tell whether a location was named itself, and not only what it lies in: it is trusted as it is."""
    return not {EVERYTHING, location}.isdisjoint(allowed)


def named_hosts(allowed: Iterable[str]) -> set[str]:
    """Return the hosts that were named: they alone may have an address inside of a network."""
    hosts = (parsed(name).hostname for name in allowed if "://" in name)
    return {host for host in hosts if host}


def refusals(locations: Sequence[str], allowed: Sequence[str], *, base_model: str | None = None) -> list[str]:
    """Return a sentence for each location that may not be read, without the secrets that it may hold."""
    refused = [location for location in locations if not is_allowed(location, allowed)]
    # Not even a terminal's: it would be a parameter of the training, and nothing is loaded from there.
    is_address = base_model is not None and "://" in base_model
    if base_model is not None and not is_address and not is_allowed_model(base_model, allowed):
        refused.append(base_model)
    sentences = [
        f"{without_secrets(location)} is not read on behalf of a form: the model's YAML does not name it. Name it, its "
        "folder or its host in `data.allowed_sources`, or start the release with `make release`."
        for location in refused
    ]
    if base_model is not None and is_address:
        sentences.append(f"{without_secrets(base_model)} is no base model: give its Hub id, a folder, or `scratch`.")
    return sentences


def _place(location: str) -> _Place | None:
    """Return where something lies, ``None`` for what must not be compared: it may lead elsewhere than it says."""
    if _CHAIN in location or location.startswith((HUB, QUERY)) or any(ord(letter) < 32 for letter in location):
        return None
    if "://" not in location:
        location = f"{_FILE}://{posixpath.join(_PROJECT_DIR.as_posix(), location)}"
        return _Place(_FILE, "", posixpath.normpath(location.removeprefix(f"{_FILE}://")))
    scheme, _, rest = location.partition("://")
    if scheme == _FILE:
        return _Place(_FILE, "", posixpath.normpath(local_path(location)))
    host, path = parsed(location).netloc, unquote(parsed(location).path)
    if (rest and not host) or "@" in host or "\\" in location or ".." in path.split("/"):
        return None
    return _Place(scheme.lower(), host.lower(), path)
