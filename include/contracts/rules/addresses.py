"""Addresses of data and models, and what of them is secret: user and password, and the signature in a query.

Whoever tells of an address calls it by :func:`without_secrets`; whoever hands one over where others may see it asks for
:func:`secrets_of` it before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

#: Between the addresses of a chain; in a password it is none.
_CHAIN = re.compile(r"::(?=(?:[\w.+-]+::)*[\w.+-]+://|[^@]*$)")
_WEB = ("http", "https")
#: There it is the name of a container that stands before the ``@``.
_CONTAINER_FIRST = ("abfs", "abfss", "wasb", "wasbs")
_PLACE = re.compile(r"(\[[^\]]*\]|[^:@]*)(:\d*)?")
#: What nobody calls a path: somebody has mistyped an address with a password.
_MISTYPED = re.compile(r"(?!hub:)[^@]*:[^@]*@")
#: Names of a query's fields whose values let somebody in: S3, GCS, Azure and web servers have each their own.
_SECRET_FIELD = re.compile(r"sig|token|key|secret|pass|pwd|auth|cred|session|code", re.IGNORECASE)
#: Longer values let somebody in, too, whatever they are called, but not those of a version; and a longer user is a key.
_LONG, _LONG_USER = 20, 12
_VERSION_FIELD = "versionid"


def without_secrets(address: str) -> str:
    """Return how messages and documents call an address: without user, password and query."""
    return "::".join(_parts(part).shown for part in _CHAIN.split(address))


def secrets_of(address: str) -> list[str]:
    """Return what nobody else may see of an address: as it is written, and as it is meant. Empty: it has no secret."""
    parts = [_parts(part) for part in _CHAIN.split(address)]
    found = (secret for part in parts for secret in (*_of_user(part), *_of_query(part.query)))
    return list(dict.fromkeys(form for secret in found if secret for form in (secret, unquote(secret))))


def parsed(address: str) -> SplitResult:
    """Return the parts of an address, none of one that is not well formed: Python's error would quote its password."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class _Parts(NamedTuple):
    shown: str
    protocol: str = ""
    user: str = ""
    query: str = ""


def _parts(address: str) -> _Parts:
    protocol, separator, rest = address.partition("://")
    if not separator:
        return _parts_of_path(address)
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if "@" in path and ((at and not host) or not _PLACE.fullmatch(host)):  # a password with a slash
        user, _, rest = rest.rpartition("@")
        host, slash, path = rest.partition("/")
    if "?" in host:
        host, _, query = f"{host}{slash}{path}".partition("?")
        return _Parts(f"{protocol}://{host}", protocol.lower(), user, query)
    key, _, query = path.partition("?")
    if protocol.lower() in _WEB:
        key, _, fragment = key.partition("#")
        query = f"{query}#{fragment}"
    elif protocol == "file" or "=" not in query:  # a key may hold a question mark, a signature is never shown
        key, query = path, ""
    return _Parts(f"{protocol}://{host}{slash}{key}", protocol.lower(), user, query)


def _parts_of_path(path: str) -> _Parts:
    user, shown = "", path
    if _MISTYPED.match(path):
        user, _, shown = path.rpartition("@")
    name, _, query = shown.partition("?")
    return _Parts(name, "", user, query) if any(_of_query(query)) else _Parts(shown, "", user)


def _of_user(parts: _Parts) -> Iterator[str]:
    name, colon, password = parts.user.partition(":")
    if not parts.user or (parts.protocol in _CONTAINER_FIRST and not colon):
        return
    yield f"{parts.user}@"
    yield password
    if not colon or len(name) >= _LONG_USER:
        yield name


def _of_query(query: str) -> Iterator[str]:
    for field in re.split("[&;#]", query):
        name, equals, value = field.partition("=")
        if not equals:
            name, value = "", name
        is_long = len(value) >= _LONG and name.lower() != _VERSION_FIELD
        if value and (is_long or _SECRET_FIELD.search(name)):
            yield value
