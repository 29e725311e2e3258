"""The numbers of all native servers of a container on one page, each with the model and the version that it is of.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from kubeflow_provider.exceptions import KubeflowProviderError
from local_services.kserve_server.runtime.exchange import Receive, RefusedError, Scope, Send, answer, refuse
from local_services.record import Record
from local_services.version_servers.processes import Processes

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Numbers:
    """The ASGI application of ``/metrics``.

    :param processes: whose servers are asked.
    :param record: which there are.
    """

    def __init__(self, processes: Processes, record: Record) -> None:
        self._processes = processes
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] != "/metrics" or scope["method"] != "GET":
            await refuse(send, RefusedError(404, "There is nothing at this address."))
            return
        text = await asyncio.to_thread(self._text)
        await answer(send, 200, text.encode(), [("content-type", _CONTENT_TYPE)])

    def _text(self) -> str:
        try:
            models = self._record.read()
        except KubeflowProviderError:
            models = {}  # who keeps it says so in the log, and mends it
        pages = []
        for model, served in sorted(models.items()):
            for version, stored in sorted(served.versions.items()):
                found = self._processes.ask(model, version, stored, "/metrics")
                if found is not None and found.is_success:
                    pages.append((found.text, {"model": model, "version": version}))
        return joined(pages)


def joined(pages: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Return one page of several in which the same names occur.

    :param pages: each with the labels that its samples get.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for text, labels in pages:
        family: tuple[list[str], list[str]] = ([], [])
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = families.setdefault(line.split(" ")[2], ([], []))
            if not line.startswith("#"):
                family[1].append(_labelled(line, labels))
            elif line.split(" ")[:3] not in [each.split(" ")[:3] for each in family[0]]:
                family[0].append(line)
    return "".join(f"{line}\n" for line in _lines(families))


def _lines(families: Mapping[str, tuple[list[str], list[str]]]) -> Iterator[str]:
    for heads, samples in families.values():
        yield from heads
        yield from samples


def _labelled(sample: str, labels: Mapping[str, str]) -> str:
    """Return a sample with labels besides its own, which go before them."""
    name, brace, rest = sample.partition("{")
    if not brace:
        name, _, value = sample.partition(" ")
        rest = f"}} {value}"
    added = [f'{key}="{value}"' for key, value in labels.items() if f'{key}="' not in rest]
    own = [] if rest.startswith("}") else [rest.partition("}")[0]]
    return f"{name}{{{','.join(added + own)}}}{rest.partition('}')[2]}"
