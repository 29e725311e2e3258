"""Users who ask a server: so many clients, each with a connection that stays open and one request on its way.

They live in a process of their own, which needs nothing but the standard library: what it costs to ask and to measure
falls on every side alike, and does not hold up the benchmark.
"""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
_TIMEOUT_SECONDS = 120
#: After which a client that was told that a server is busy comes again, where it does.
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go, and how.

    :param url: all of it.
    :param content_type: of the bodies.
    """

    url: str
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request.

    :param row: which of the bodies was sent.
    :param began: by this machine's monotonic clock, in seconds; the same in all of its processes.
    :param seconds: from sending the request to the last byte of its answer.
    :param status: HTTP status; 0 where there was no answer.
    :param body: the answer, or what went wrong; empty where bodies were not asked for.
    """

    row: int
    began: float
    seconds: float
    status: int
    body: str = ""


@dataclass(slots=True)
class Answers:
    """What came of all requests; empty until the users have stopped."""

    found: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        """Those that are no 200."""
        return [answer for answer in self.found if answer.status != http.client.OK]

    @property
    def failures(self) -> Counter[str]:
        """Why they failed, and how often."""
        return Counter(f"{answer.status}: {answer.body}" for answer in self.failed)


def ask(target: Target, bodies: Sequence[str], *, clients: int) -> list[Answer]:
    """Send each body once, the clients taking turns; return the answers with their bodies, in the order of these.

    Who is told that the server is busy (503) comes again every 50 ms; its answer took as long as all of that.
    """
    job = {"target": asdict(target), "bodies": list(bodies), "clients": clients, "endless": False}
    done = subprocess.run(_COMMAND, cwd=ROOT, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    return sorted((Answer(**answer) for answer in json.loads(done.stdout)), key=lambda answer: answer.row)


@contextmanager
def asking(target: Target, bodies: Sequence[str], *, clients: int, pause_seconds: float = 0.0) -> Iterator[Answers]:
    """Let the clients send the bodies over and over for as long as the block lasts; what they yield is filled then.

    :param pause_seconds: how long each of them waits between two requests.
    """
    job = {"target": asdict(target), "bodies": list(bodies), "clients": clients, "endless": True}
    process = subprocess.Popen(_COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    answers = Answers()
    try:
        process.stdin.write(json.dumps(job | {"pause_seconds": pause_seconds}) + "\n")
        process.stdin.flush()
        yield answers
        written, _ = process.communicate()  # closes its input, which ends it
        answers.found += [Answer(**answer) for answer in json.loads(written)]
    finally:
        process.kill()
        process.wait()


class Users:
    """Clients in a process that stays: between two times that they ask, nothing is started."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(_COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Users:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, target: Target, bodies: Sequence[str], *, clients: int, seconds: float) -> list[Answer]:
        """Let the clients send the bodies over and over for a time; return the answers in the order of their requests.

        Bodies of answers are kept where one failed only.
        """
        job = {"target": asdict(target), "bodies": list(bodies), "clients": clients, "endless": True}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job | {"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        found = [Answer(**answer) for answer in json.loads(self._process.stdout.readline())]
        return sorted(found, key=lambda answer: answer.began)


def figures(answers: Sequence[Answer]) -> dict[str, float]:
    """Return ``requests`` (a second) and the percentiles ``p50``, ``p95`` and ``p99`` of the latency, in ms."""
    began, ended = (min(a.began for a in answers), max(a.began + a.seconds for a in answers))
    latencies = [answer.seconds * 1000 for answer in answers]
    shares = {f"p{percent}": percentile(latencies, percent) for percent in (50, 95, 99)}
    return {"requests": len(answers) / (ended - began), **shares}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of the values do not exceed (the nearest rank)."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


class _Clients:
    """The threads of the process that asks."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._target = Target(**job["target"])
        self._bodies = [body.encode() for body in job["bodies"]]
        self._endless = job["endless"]
        self._pause_seconds = job.get("pause_seconds", 0.0)
        self._seconds = job.get("seconds")
        rows = range(len(self._bodies))
        self._rows: Iterator[int] = cycle(rows) if self._endless else iter(rows)
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(job["clients"])]

    def run(self) -> list[Answer]:
        """Ask until all rows are asked, for a time, or until nobody holds this process's input any more."""
        for thread in self._threads:
            thread.start()
        if self._endless:
            if self._seconds is None:
                sys.stdin.read()
            else:
                time.sleep(self._seconds)
            self._stop.set()
        for thread in self._threads:
            thread.join()
        return self._answers

    def _next_row(self) -> int | None:
        with self._lock:
            return None if self._stop.is_set() else next(self._rows, None)

    def _work(self) -> None:
        address = urlsplit(self._target.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS)
        while (row := self._next_row()) is not None:
            began = time.monotonic()
            status, body = self._send(connection, address.path, row)
            while status == http.client.SERVICE_UNAVAILABLE and not self._endless:
                if time.monotonic() - began > _TIMEOUT_SECONDS:
                    break
                time.sleep(_AGAIN_SECONDS)
                status, body = self._send(connection, address.path, row)
            seconds = time.monotonic() - began
            kept = "" if self._endless and status == http.client.OK else body
            self._answers.append(Answer(row=row, began=began, seconds=seconds, status=status, body=kept))
            self._stop.wait(self._pause_seconds)
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, path: str, row: int) -> tuple[int, str]:
        try:
            connection.request("POST", path, self._bodies[row], {"Content-Type": self._target.content_type})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            return 0, repr(error)


_COMMAND = (sys.executable, "-m", "benchmarks.load")

if __name__ == "__main__":
    while line := sys.stdin.readline():
        print(json.dumps([asdict(answer) for answer in _Clients(json.loads(line)).run()]), flush=True)
