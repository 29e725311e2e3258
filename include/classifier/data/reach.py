"""How far a source may lead when a form has named it: the file or the address behind it counts, not its name."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from include.classifier.data.problems import DataError
from include.contracts.rules.allowed_sources import is_allowed, is_as_named, named_hosts
from include.contracts.uris import local_path

#: IPv6 addresses that stand for an IPv4 address behind a translator.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def check_reach(uri: str, name: str, allowed: Sequence[str]) -> None:
    """Make sure that a source was named by whoever runs this installation.

    :param name: how messages call it.
    :param allowed: see :func:`include.contracts.rules.allowed_sources.is_allowed`.
    :raises DataError: when it was not.
    """
    if not is_allowed(uri, allowed):
        raise _refused(name)


def check_file(path: str, uri: str, name: str, allowed: Sequence[str]) -> None:
    """Make sure that a file lies where it was named, and not only a link to it.

    :raises DataError: when it does not.
    """
    real = [entry if "://" in entry else os.path.realpath(entry) for entry in map(_as_path, allowed)]
    if not is_as_named(uri, allowed) and not is_allowed(os.path.realpath(path), real):
        raise _refused(name)


def check_hub_id(name: str, source: str) -> None:
    """Make sure that a data set of the Hub has an owner; without one the library takes it for a loader of its own.

    :param source: how messages call it.
    :raises DataError: when it has none, and is no folder of this machine either.
    """
    if "/" not in name and not (name and Path(name).is_dir()):
        raise DataError(f"{source}: a data set of the Hub is named by its owner and name, as in hub:owner/name.")


def web_options(uri: str, name: str, allowed: Sequence[str]) -> dict[str, Any]:
    """Return options for fsspec's client of web servers, which then connects to no address inside of a network.

    Every connection is looked at, so that neither a redirect nor a name that resolves to something else leads there.
    Hosts that were named are free to have such an address.
    """
    if is_as_named(uri, allowed):
        return {}
    inside = set(_addresses(named_hosts(allowed)))

    async def get_client(*, loop: Any, **settings: Any) -> Any:
        import aiohttp

        connector = aiohttp.TCPConnector(socket_factory=_guarded(name, inside), loop=loop)
        return aiohttp.ClientSession(connector=connector, loop=loop, **settings)

    return {"get_client": get_client, "skip_instance_cache": True}


def is_public(address: str) -> bool:
    """Tell whether an address is everybody's: not of this machine, of a private network or of a link."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip.sixtofour:
            return is_public(str(ip.sixtofour))
    return ip.is_global and not ip.is_multicast


def _guarded(name: str, inside: Collection[str]) -> Callable[[Any], socket.socket]:
    def connect(address_info: Any) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if address[0] not in inside and not is_public(address[0]):
            raise _refused(name)
        return socket.socket(family, kind, protocol)

    return connect


def _addresses(hosts: Iterable[str]) -> Iterable[str]:
    for host in hosts:
        try:
            yield from (str(found[4][0]) for found in socket.getaddrinfo(host, None))
        except OSError:  # a host that has no address leads nowhere
            continue


def _as_path(entry: str) -> str:
    return local_path(entry) if entry.startswith("file:") else entry


def _refused(name: str) -> DataError:
    return DataError(
        f"{name}: is not read on behalf of a form, because it is, or leads, where `data.allowed_sources` of the "
        "model's YAML names nothing. Name its folder or host there, or start the release with `make release`."
    )
