"""What capturing requests costs their users: the native server with and without it, asked in turns."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop
from benchmarks.load import ask, figures
from benchmarks.models import write_distilbert
from benchmarks.reviews import pick, read_reviews
from benchmarks.servers import Server, native
from include.contracts.monitoring.capture import CAPTURED, SETTINGS_VARIABLE, CaptureConfig

WITHOUT = "without"
LATENCY, REQUESTS = "latency", "requests"
_TEXTS = 64
#: Of one run at each number of clients; about a second each.
_REQUESTS = {1: 300, 32: 1_500}
_MOST = 1.03


def main() -> None:
    """Measure, and write ``results/capture.json``."""
    parser = arguments(__doc__ or "", sizes=sorted(_REQUESTS), pairs=20, counted="numbers of clients")
    parser.add_argument("--share", type=float, default=CaptureConfig.model_fields["share"].default)
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    benchmark = Benchmark(
        name="capture",
        title="Captured requests",
        sides={OURS: f"{given.share:.0%} of the requests captured, texts hashed", WITHOUT: "the same without"},
        sizes=given.sizes,
        size_unit="clients",
        pairs=given.pairs,
        units={LATENCY: "ms, median", REQUESTS: "a second"},
    )
    with tempfile.TemporaryDirectory(prefix="capture-") as name:
        folder = Path(name)
        store = folder / "store" / "reviews"
        model = write_distilbert(folder / "model", read_reviews(), layers=2, width=128, heads=2)
        settings = CaptureConfig(enabled=True, share=given.share).served_with(f"file://{store}")["capture"]
        with native(model, environment={SETTINGS_VARIABLE: json.dumps(settings)}) as ours, native(model) as without:
            servers = {OURS: ours, WITHOUT: without}
            for server in servers.values():  # the first requests load what the first requests load
                _measure(server, clients=max(given.sizes))
            for clients, side in benchmark.runs():
                benchmark.add(clients, side, _measure(servers[side], clients=clients))
        written = sum(path.read_bytes().count(b"\n") for path in (store / CAPTURED).glob("*/*.jsonl"))
    if not written:
        raise RuntimeError("Nothing was captured.")
    _judge(benchmark, written)
    print(benchmark.write())


def _measure(server: Server, *, clients: int) -> dict[str, float]:
    texts = pick(read_reviews(), _TEXTS)
    bodies = [server.write(text) for text in texts]
    number = _REQUESTS.get(clients, 1_000)
    answers = ask(server.target, [bodies[index % _TEXTS] for index in range(number)], clients=clients)
    if failed := [answer for answer in answers if answer.status != 200]:
        raise RuntimeError(f"{len(failed)} requests failed, the first with {failed[0].status}: {failed[0].body}")
    found = figures(answers)
    return {LATENCY: found["p50"], REQUESTS: found["requests"]}


def _judge(benchmark: Benchmark, written: int) -> None:
    notes = [f"{written:,} requests were captured."]
    for clients in benchmark.sizes:
        pairs = zip(
            benchmark.figures(LATENCY, clients, OURS), benchmark.figures(LATENCY, clients, WITHOUT), strict=True
        )
        ratios = sorted(ours / without for ours, without in pairs)
        low, high = interval_of_median(ratios)
        middle = (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2
        notes.append(f"Interval of the ratio at {clients} clients (95 %): {low:.3f} to {high:.3f}.")
        benchmark.require(f"median latency, times without, {clients} clients", middle, at_most=_MOST)
    benchmark.notes = notes
    print(" ".join(notes))


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
