"""What capturing requests costs their users: the native server with and without it, asked in turns.

The same server without capturing runs twice: how far these two are apart is the noise of the machine.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from statistics import median

import psutil

from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop
from benchmarks.load import Answer, Users, figures
from benchmarks.models import write_distilbert
from benchmarks.reviews import pick, read_reviews
from benchmarks.servers import Server, native
from include.capture.feed import Limits
from include.contracts.monitoring.capture import CaptureConfig
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from include.contracts.monitoring.layout import CAPTURED

WITHOUT, AGAIN = "without", "without again"
LATENCY, REQUESTS = "latency", "requests"
_TEXTS = 64
_MOST = 1.03
#: Of one turn, before it counts: what the side before has left to write is written, and this one writes as it goes on.
_LEAD_SECONDS = Limits().write_seconds + 0.2
_TURN_SECONDS = 1.5
#: Of each server's environment: chance lays out none of them better than the others.
_ALIKE = {"PYTHONHASHSEED": "0"}


def main() -> None:
    """Measure, and write ``results/capture.json``."""
    parser = arguments(__doc__ or "", sizes=[1, 32], pairs=20, counted="numbers of clients")
    parser.add_argument("--share", type=float, default=CaptureConfig.model_fields["share"].default)
    parser.add_argument("--seconds", type=float, default=_TURN_SECONDS, help="of a turn that count (%(default)s)")
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    benchmark = Benchmark(
        name="capture",
        title="Captured requests",
        sides={
            OURS: f"{given.share:.0%} of the requests captured, texts hashed",
            WITHOUT: "the same without",
            AGAIN: "a second server of that sort, which shows the noise of the machine",
        },
        sizes=given.sizes,
        size_unit="clients",
        pairs=given.pairs,
        units={LATENCY: "ms, median", REQUESTS: "a second"},
    )
    with tempfile.TemporaryDirectory(prefix="capture-") as name:
        folder = Path(name)
        store = folder / "store" / "reviews"
        reviews = read_reviews()
        model = write_distilbert(folder / "model", reviews, layers=2, width=128, heads=2)
        settings = CaptureConfig(enabled=True, share=given.share).served_with(f"file://{store}")["capture"]
        with ExitStack() as running:
            servers = {
                side: running.enter_context(native(model, environment=_ALIKE | more))
                for side, more in ((OURS, {SETTINGS_VARIABLE: json.dumps(settings)}), (WITHOUT, {}), (AGAIN, {}))
            }
            with Users() as users:
                turns = Turns(servers, users, pick(reviews, _TEXTS), given.seconds)
                for side in turns.servers:  # the first requests load what the first requests load
                    turns.ask(side, max(given.sizes))
                _measure(benchmark, turns)
            notes = [_cost(servers[OURS], store, asked=turns.asked[OURS] * given.share)]
    judge(benchmark, [*notes, f"Each figure is of two turns of {given.seconds:g} s."])
    print(benchmark.write())


class Turns:
    """Servers that are asked one after the other, by the same users.

    :param servers: by their sides.
    :param users: who ask.
    :param seconds: of a turn that count.
    """

    def __init__(self, servers: dict[str, Server], users: Users, texts: Sequence[str], seconds: float) -> None:
        self.servers = servers
        self._users = users
        self.asked = dict.fromkeys(servers, 0)
        self._bodies = {side: [server.write(text) for text in texts] for side, server in servers.items()}
        self._seconds = seconds

    def ask(self, side: str, clients: int) -> list[Answer]:
        """Return the answers of one turn that count."""
        answers = self._users.ask(
            self.servers[side].target, self._bodies[side], clients=clients, seconds=_LEAD_SECONDS + self._seconds
        )
        if failed := [answer for answer in answers if answer.status != 200]:
            raise RuntimeError(f"{len(failed)} requests failed, the first with {failed[0].status}: {failed[0].body}")
        self.asked[side] += len(answers)
        return [answer for answer in answers if answer.began >= answers[0].began + _LEAD_SECONDS]


def orders(sides: Sequence[str], pairs: int) -> Iterator[tuple[str, ...]]:
    """Yield the turns of each pair: every side twice, so that what drifts meanwhile falls on all alike.

    Every side is as often first as any other, and comes as often after each of the others.
    """
    every = list(permutations(sides))
    for pair in range(pairs):
        order = every[pair % len(every)]
        yield (*order, *reversed(order))


def _measure(benchmark: Benchmark, turns: Turns) -> None:
    for order in orders(list(turns.servers), benchmark.pairs):
        for clients in benchmark.sizes:
            found: dict[str, list[list[Answer]]] = {side: [] for side in turns.servers}
            for side in order:
                found[side].append(turns.ask(side, clients))
            for side, answers in found.items():
                benchmark.add(clients, side, _figures(answers))


def _figures(turns: Sequence[Sequence[Answer]]) -> dict[str, float]:
    return {
        LATENCY: figures([answer for turn in turns for answer in turn])["p50"],
        REQUESTS: sum(figures(turn)["requests"] for turn in turns) / len(turns),
    }


def _cost(server: Server, store: Path, *, asked: float) -> str:
    """Say what was captured and what the process took that wrote it.

    :param asked: how many requests should have been captured.
    :raises RuntimeError: when it was less than half of them.
    """
    (writer,) = psutil.Process(server.pid).children()
    spent = sum(writer.cpu_times()[:2])
    # What is being written has a hidden name.
    written = sum(path.read_bytes().count(b"\n") for path in (store / CAPTURED).glob("*/*"))
    if written < asked / 2:
        raise RuntimeError(f"{written} requests were captured, of about {asked:.0f}.")
    return (
        f"{written:,} requests were captured. The process that writes them took {1000 * spent / written:.2f} ms of "
        f"processor time for each, its start included, and {writer.memory_info().rss / 1e6:.0f} MB of memory."
    )


def judge(benchmark: Benchmark, notes: Sequence[str]) -> None:
    """Compare the ratios of the pairs with what was wanted, and state those of the two servers that are alike."""
    intervals = []
    for side, at_most in ((OURS, _MOST), (AGAIN, None)):
        for clients in benchmark.sizes:
            ratios = sorted(
                figure / without
                for figure, without in zip(
                    benchmark.figures(LATENCY, clients, side),
                    benchmark.figures(LATENCY, clients, WITHOUT),
                    strict=True,
                )
            )
            low, high = interval_of_median(ratios)
            what = "median latency, times without" if side == OURS else "the same of two servers without"
            benchmark.require(f"{what}, {clients} {_word(clients)}", median(ratios), at_most=at_most)
            intervals.append(f"{what}, {clients} {_word(clients)}: {low:.3f} to {high:.3f}")
    benchmark.notes = [*notes, f"Intervals of these ratios (95 %): {'; '.join(intervals)}."]
    print(" ".join(benchmark.notes))


def _word(clients: int) -> str:
    return "client" if clients == 1 else "clients"


def interval_of_median(values: list[float]) -> tuple[float, float]:
    """Return the interval that holds the median with a probability of 95 % at least, whatever the distribution.

    By order statistics: values lie on either side of the median as a coin falls (Conover, Practical Nonparametric
    Statistics, 3.2). Of fewer than six values it is all of them.

    :param values: in order.
    """
    number, tail, rank = len(values), 0.0, 0
    weight = 0.5**number
    while tail + weight <= 0.025:
        tail += weight
        weight *= (number - rank) / (rank + 1)
        rank += 1
    low = max(0, rank - 1)
    return values[low], values[number - 1 - low]


if __name__ == "__main__":
    main()
