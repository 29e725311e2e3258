"""Which serving settings are good on this machine: workers, threads, requests joined, and how long to wait for them.

Each combination is a side and is compared with the defaults. One worker holds the model once; several hold it several
times, which no figure here shows.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop, instruction_sets
from benchmarks.models import MAX_LENGTH, write_distilbert
from benchmarks.reviews import read_reviews
from benchmarks.served_texts import P50, P95, P99, REQUESTS, prepare_model, questions, with_server
from benchmarks.servers import ours
from include.classifier.serving.cpus import available_cpus
from include.contracts.settings import ServingConfig

#: How much better another setting may be before the defaults are wrong for this machine.
_MARGIN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One combination.

    :param threads: of each worker.
    :param batch_size: requests that may be joined.
    :param delay_ms: how long the server waits for them.
    """

    workers: int
    threads: int
    batch_size: int
    delay_ms: int

    @classmethod
    def default(cls) -> Setting:
        """Return what is served where nobody sets anything."""
        settings = ServingConfig()
        return cls(
            workers=settings.workers,
            threads=max(1, available_cpus() // settings.workers),
            batch_size=settings.batch_size,
            delay_ms=settings.max_batch_delay_ms,
        )

    def __str__(self) -> str:
        """Return a short name for tables: ``2 x 1, 8 in 5 ms``."""
        return f"{self.workers} x {self.threads}, {self.batch_size} in {self.delay_ms} ms"

    def config(self) -> dict[str, int]:
        """Return the settings of ``ModelConfig.serving``."""
        return {"workers": self.workers, "batch_size": self.batch_size, "max_batch_delay_ms": self.delay_ms}


def main() -> None:
    """Measure, and write ``results/serving-search.json``."""
    cpus = available_cpus()
    parser = arguments(__doc__ or "", sizes=[1, 8, 32], pairs=2, counted="numbers of clients")
    parser.add_argument("--requests", type=int, default=96, help="of each run")
    parser.add_argument("--texts", type=Path, help="CSV with a column `text` (default: sample reviews)")
    parser.add_argument("--layers", type=int, default=6, help="of the model; fewer for a trial")
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, cpus}))
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cpus}), help="of each worker")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 16, 32])
    # Not 0: TorchServe then joins two requests at most, however many wait.
    parser.add_argument("--delays-ms", type=int, nargs="+", default=[1, 10])
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    combinations = list(settings(given.workers, given.threads, given.batch_sizes, given.delays_ms, cpus=cpus))
    with tempfile.TemporaryDirectory(prefix="serving-search-") as name:
        reviews = read_reviews(given.texts)
        trained = write_distilbert(Path(name) / "trained", reviews, layers=given.layers)
        model, facts = prepare_model(trained, Path(name) / "packed", reviews)
        texts = questions(trained, reviews, given.requests)
        benchmark = _benchmark(given, combinations, chosen=facts["chosen"])
        for side, setting in turns(combinations, given.pairs):
            with ours(model, settings=setting.config(), threads=setting.threads) as server:
                with_server(server, texts, clients=max(given.sizes))  # the first requests are no measure
                for clients in given.sizes:
                    benchmark.add(clients, side, with_server(server, texts, clients=clients)[0])
    recommend(benchmark)
    print(benchmark.write())


def settings(
    workers: Sequence[int], threads: Sequence[int], batch_sizes: Sequence[int], delays_ms: Sequence[int], *, cpus: int
) -> Iterator[Setting]:
    """Yield every combination but the defaults that keeps all CPUs busy; nobody waits for a batch of one."""
    for each in itertools.product(workers, threads, batch_sizes, delays_ms):
        setting = Setting(workers=each[0], threads=each[1], batch_size=each[2], delay_ms=each[3])
        is_same_as_another = setting.batch_size == 1 and setting.delay_ms != min(delays_ms)
        if setting.workers * setting.threads >= cpus and not is_same_as_another and setting != Setting.default():
            yield setting


def turns(combinations: Sequence[Setting], pairs: int) -> Iterator[tuple[str, Setting]]:
    """Yield each side with its setting, the defaults in the middle, every other time from the end."""
    middle = len(combinations) // 2
    named = [(str(setting), setting) for setting in combinations]
    named.insert(middle, (OURS, Setting.default()))
    for pair in range(pairs):
        yield from named if pair % 2 == 0 else reversed(named)


def recommend(benchmark: Benchmark) -> None:
    """Say what is best for many clients without making a single one wait, and whether the defaults are as good."""
    fewest, most = min(benchmark.sizes), max(benchmark.sizes)

    def figure(side: str, what: str, clients: int) -> float:
        return benchmark.at(what, clients).sides[side].median

    quickest = min(figure(side, P50, fewest) for side in benchmark.sides)
    quick = [side for side in benchmark.sides if figure(side, P50, fewest) <= _MARGIN * quickest]
    best = max(quick, key=lambda side: figure(side, REQUESTS, most))
    gain = figure(best, REQUESTS, most) / figure(OURS, REQUESTS, most)
    delay = figure(OURS, P50, fewest) / quickest
    print(f"Best: {'the defaults' if best == OURS else best}.")
    benchmark.require(
        f"times the defaults' requests, {most} clients: {'the defaults' if best == OURS else best}",
        gain,
        at_most=_MARGIN,
    )
    benchmark.require(f"times the lowest median latency: the defaults, {fewest} client", delay, at_most=_MARGIN)


def _benchmark(given: argparse.Namespace, combinations: Sequence[Setting], *, chosen: str) -> Benchmark:
    return Benchmark(
        name="serving-search",
        title="Serving settings",
        sides={OURS: f"the defaults: {Setting.default()}"} | {str(each): _describe(each) for each in combinations},
        sizes=given.sizes,
        size_unit="clients",
        pairs=given.pairs,
        units={REQUESTS: "a second", P50: "ms", P95: "ms", P99: "ms"},
        notes=(
            f"A DistilBERT of {given.layers} layers, 768 wide, random weights, served as {chosen}; {given.requests} "
            f"{'given' if given.texts else 'sample'} reviews in each run, cut to {MAX_LENGTH} tokens beforehand.",
            "A setting's server is started for its runs and stopped again, so that only one is up at a time.",
            f"Instruction sets that matter to int8: {instruction_sets()}.",
        ),
    )


def _describe(setting: Setting) -> str:
    return (
        f"workers {setting.workers}, threads {setting.threads}, batch_size {setting.batch_size}, "
        f"max_batch_delay_ms {setting.delay_ms}"
    )


if __name__ == "__main__":
    main()
