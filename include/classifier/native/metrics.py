"""What the server counts, in the text form that Prometheus reads.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import resource
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from include.classifier.native.batches.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    """How often values came, by size.

    :param bounds: the largest value of each bucket, rising.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Yield the samples."""
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum}"
        yield f"{name}_count {total}"


@dataclass(slots=True)
class Metrics:
    """The numbers of one server.

    :param model: its name.
    :param version: of the model.
    :param gauges: name -> what it is now; each is asked when Prometheus asks.
    :param captured: returns what became of requests that are captured, where they are: outcome, number.
    """

    model: str
    version: str
    gauges: Mapping[str, tuple[str, Callable[[], float]]] = field(default_factory=dict)
    captured: Callable[[], Sequence[tuple[str, int]]] = tuple
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    request_seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    batch_texts: Histogram = field(default_factory=lambda: Histogram(_TEXTS))
    batch_seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    tokens: int = 0
    padding_tokens: int = 0
    dropped: int = 0
    _started: float = field(default_factory=time.time)

    def add_batch(self, batch: Batch) -> None:
        """Count what goes through the model at once."""
        self.batch_texts.add(batch.texts)
        self.tokens += batch.tokens
        self.padding_tokens += batch.padded_tokens - batch.tokens

    def add_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        :param route: ``v1``, ``v2`` or ``raw``.
        """
        self.requests[route, status] += 1
        self.request_seconds.add(seconds)

    def text(self) -> str:
        """Return all of it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("model_server_info", "gauge", "Which model is served.")
        yield f'model_server_info{{model="{self.model}",version="{self.version}"}} 1'
        yield from _head("model_server_requests_total", "counter", "Answers to predictions, by path and status.")
        for (route, status), number in sorted(self.requests.items()):
            yield f'model_server_requests_total{{route="{route}",code="{status}"}} {number}'
        for name, what, histogram in (
            ("model_server_request_seconds", "From the head of a request to its answer.", self.request_seconds),
            ("model_server_batch_texts", "Texts that went through the model at once.", self.batch_texts),
            ("model_server_batch_seconds", "Of the model, for one batch.", self.batch_seconds),
        ):
            yield from _head(name, "histogram", what)
            yield from histogram.lines(name)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        for name, what, value in (
            ("model_server_tokens_total", "Tokens that went through the model, without padding.", self.tokens),
            ("model_server_padding_tokens_total", "Padding that went with them.", self.padding_tokens),
            ("model_server_dropped_requests_total", "Requests whose client was gone before its answer.", self.dropped),
            ("process_cpu_seconds_total", "Processor time of the server.", usage.ru_utime + usage.ru_stime),
        ):
            yield from _head(name, "counter", what)
            yield f"{name} {value}"
        yield from _head("process_start_time_seconds", "gauge", "When it started, in seconds since 1970.")
        yield f"process_start_time_seconds {self._started}"
        if (memory := _resident_bytes()) is not None:
            yield from _head("process_resident_memory_bytes", "gauge", "Memory of the server.")
            yield f"process_resident_memory_bytes {memory}"
        if captured := self.captured():
            yield from _head("model_server_captured_requests_total", "counter", "Requests drawn for capture.")
            for outcome, number in captured:
                yield f'model_server_captured_requests_total{{outcome="{outcome}"}} {number}'
        for name, (what, ask) in self.gauges.items():
            yield from _head(name, "gauge", what)
            yield f"{name} {ask()}"


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"


def _resident_bytes() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
