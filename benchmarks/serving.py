"""How many texts a second an endpoint classifies, how quickly it answers, and what it takes: ours against others.

All sides have the same weights and classify the same texts. A side that gives other answers than the model stops the
benchmark. It has four parts: starting, short texts, texts of mixed lengths, and the processor's time for an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import RESULTS, Benchmark, clean_up_when_told_to_stop, instruction_sets, machine
from benchmarks.kept_runs import KeptRuns
from benchmarks.load import ROOT
from benchmarks.models import MAX_LENGTH, write_distilbert
from benchmarks.processes import has_loaded, installed_mib, memory_mib, processor_seconds
from benchmarks.reviews import read_reviews
from benchmarks.served_texts import REQUESTS, UNITS, check, largest_difference, prepare_model, questions
from benchmarks.serving_sides import LIMIT, NATIVE, SIDES, TORCHSERVE, Running, Side
from benchmarks.serving_targets import (
    FIRST,
    INSTALLED,
    MEMORY,
    PROCESSOR,
    judge_mixed,
    judge_processor,
    judge_short,
    judge_start,
)

if TYPE_CHECKING:
    from include.classifier.serving.predictor import Prediction

STATE = ROOT / ".state" / "bench-serving"
#: Sides that are asked by more clients, and for texts of mixed lengths, too.
CORE = (NATIVE, TORCHSERVE, LIMIT)
_FEW, _MANY, _CLIENTS = 1, 32, (1, 8, 32, 128)
#: Of the longest of the short texts, in tokens.
SHORT = 32
_DISTINCT_TEXTS = 128
_MOST_TEXTS = 6000
#: Of a run besides its requests: the clients' process, and comparing the answers.
_BESIDES_SECONDS = 1.5
_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often and how long everything runs.

    :param seconds: of each run with short texts, about; the others run longer by half.
    """

    starts: int
    pairs: int
    mixed_pairs: int
    processor_pairs: int
    seconds: float

    @classmethod
    def of(cls, quick: bool) -> Plan:
        """Return the plan of a whole run, or of a trial."""
        if quick:
            return cls(starts=1, pairs=1, mixed_pairs=1, processor_pairs=3, seconds=2)
        return cls(starts=3, pairs=5, mixed_pairs=3, processor_pairs=9, seconds=5)

    def expected_seconds(self, sides: Sequence[str]) -> float:
        """Return how long all runs take, about."""
        core = sum(side in CORE for side in sides)
        short, mixed = self.run_seconds(self.seconds), self.run_seconds(1.5 * self.seconds)
        return (
            self.starts * len(sides) * _START_SECONDS
            + self.pairs * (2 * len(sides) + 2 * core) * short
            + self.mixed_pairs * len(_CLIENTS) * core * mixed
            + self.processor_pairs * 2 * 2 * mixed * (NATIVE in sides and LIMIT in sides)
        )

    @staticmethod
    def run_seconds(seconds: float) -> float:
        """Return how long a run takes with what is besides it."""
        return seconds + _BESIDES_SECONDS


class Model:
    """What is served, and what must be answered.

    :param folder: of its files; what is there already is taken.
    """

    def __init__(self, folder: Path, reviews: Sequence[str], *, layers: int) -> None:
        self.trained = folder / "trained"
        chosen = folder / "chosen.json"
        if not chosen.exists():
            write_distilbert(self.trained, reviews, layers=layers)
            packed, facts = prepare_model(self.trained, folder / "packed", reviews)
            chosen.write_text(json.dumps([str(packed), facts["chosen"]]), encoding="utf-8")
        path, self.chosen = json.loads(chosen.read_text(encoding="utf-8"))
        self.packed = Path(path)
        self.texts = {
            length: questions(self.trained, reviews, _DISTINCT_TEXTS, max_length=length)
            for length in (SHORT, MAX_LENGTH)
        }

    @cached_property
    def right(self) -> dict[tuple[int, bool], list[Prediction]]:
        """By the texts' length and whether the model is packed: the answers."""
        return {
            (length, is_packed): _load(self.packed if is_packed else self.trained).predict(texts)
            for length, texts in self.texts.items()
            for is_packed in (False, True)
        }

    def difference(self) -> float:
        """Return the largest difference of a probability that we serve to the one in float32."""
        return max(
            check(
                "packed",
                self.right[length, False],
                [found.probabilities for found in self.right[length, True]],
                bound=largest_difference(),
            )
            for length in self.texts
        )


class Measuring:
    """All runs of the benchmark.

    :param sides: names for people -> the side.
    """

    def __init__(self, model: Model, sides: Mapping[str, Side], plan: Plan, runs: KeptRuns) -> None:
        self._model, self._sides, self._plan, self._runs = model, sides, plan, runs
        self._rates: dict[tuple[int, int, str], float] = {}

    def starts(self, benchmark: Benchmark) -> None:
        """Start each side by itself, with nothing else up."""
        for pair, (size, name) in _numbered(benchmark):
            found = self._runs.get(f"start {pair} {name}", partial(self._start, name), seconds=_START_SECONDS)
            benchmark.add(size, name, found)

    def speeds(self, length: int, benchmarks: Sequence[Benchmark], *, seconds: float) -> None:
        """Ask with all sides up; figures go to each benchmark that has the side and the number of clients.

        :param length: of the texts.
        """
        every = _merged(benchmarks)
        wanted = [run for run in _numbered(every) if any(_has(each, *run[1]) for each in benchmarks)]
        keys = [f"{length} {pair} {clients} {name}" for pair, (clients, name) in wanted]
        with self._up(every.sides, keys) as running:
            for key, (_, (clients, name)) in zip(keys, wanted, strict=True):
                measure = partial(self._speed, running, name, length, clients, seconds)
                found = self._runs.get(key, measure, seconds=self._plan.run_seconds(seconds))
                for benchmark in benchmarks:
                    if _has(benchmark, clients, name):
                        benchmark.add(clients, name, found)

    def processor(self, benchmark: Benchmark, *, seconds: float) -> None:
        """Measure the processor's time of the native server and of the passes alone, with nothing else up."""
        wanted = _numbered(benchmark)
        keys = [f"processor {length} {pair} {name}" for pair, (length, name) in wanted]
        with self._up(benchmark.sides, keys) as running:
            for key, (_, (length, name)) in zip(keys, wanted, strict=True):
                measure = partial(self._processor, running, name, length, seconds)
                benchmark.add(length, name, self._runs.get(key, measure, seconds=self._plan.run_seconds(seconds)))

    @contextlib.contextmanager
    def _up(self, sides: Iterable[str], keys: Sequence[str]) -> Iterator[dict[str, Running]]:
        """Start sides, if a run of these is still to be measured; their first requests are no measure."""
        with contextlib.ExitStack() as stack:
            running: dict[str, Running] = {}
            if any(key not in self._runs for key in keys):
                for name in sides:
                    running[name] = stack.enter_context(self._running(name))
                    self._ask(running[name], name, SHORT, _MANY, 2 * _MANY)
            yield running

    def _running(self, name: str) -> contextlib.AbstractContextManager[Running]:
        side = self._sides[name]
        print(f"Starting {name} ...", flush=True)
        return side.start(self._model.packed if side.is_packed else self._model.trained)

    def _start(self, name: str) -> dict[str, float]:
        side = self._sides[name]
        with self._running(name) as running:
            self._ask(running, name, SHORT, _MANY, 2 * _MANY)
            needed = [*side.distributions, *(["torch"] if has_loaded(running.pid, "libtorch") else [])]
            return {
                FIRST: running.first_answer_seconds,
                MEMORY: memory_mib(running.pid),
                INSTALLED: installed_mib(side.python, needed),
            }

    def _speed(
        self, running: Mapping[str, Running], name: str, length: int, clients: int, seconds: float
    ) -> dict[str, float]:
        side = running[name]
        return self._ask(side, name, length, clients, self._count(side, name, length, clients, seconds))

    def _processor(self, running: Mapping[str, Running], name: str, length: int, seconds: float) -> dict[str, float]:
        # Both sides the same texts, as many as the passes alone take so long for.
        count = self._count(running[LIMIT], LIMIT, length, _MANY, seconds)
        before = processor_seconds(running[name].pid)
        self._ask(running[name], name, length, _MANY, count)
        return {PROCESSOR: (processor_seconds(running[name].pid) - before) / count * 1000}

    def _count(self, running: Running, name: str, length: int, clients: int, seconds: float) -> int:
        """Return for how many texts a side takes so long, by a run of no account; a multiple of the clients."""
        key = length, clients, name
        if key not in self._rates:
            trial = self._ask(running, name, length, clients, max(_MANY, 2 * clients))
            self._rates[key] = trial[REQUESTS]
        wanted = min(_MOST_TEXTS, max(2 * _MANY, self._rates[key] * seconds))
        return max(1, round(wanted / clients)) * clients

    def _ask(self, running: Running, name: str, length: int, clients: int, count: int) -> dict[str, float]:
        texts = list(islice(cycle(self._model.texts[length]), count))
        right = list(islice(cycle(self._model.right[length, self._sides[name].is_packed]), count))
        measured, found = running.classify(texts, clients=clients)
        check(name, right, found)
        return measured


def main() -> None:
    """Measure, and write the results: of a whole run to ``benchmarks/results``, of a trial beside what it kept."""
    given = _arguments()
    clean_up_when_told_to_stop()
    chosen = [SIDES[name] for name in SIDES if name in given.sides]
    sides, plan = dict(chosen), Plan.of(given.quick)
    settings = {"sides": given.sides, "quick": given.quick, "layers": given.layers, "texts": str(given.texts)}
    settings |= {"machine": machine(), "code": _code()}
    expected = plan.expected_seconds(list(sides))
    runs = KeptRuns(STATE, settings, resumes=given.resume, seconds=expected)
    print(
        f"{len(sides)} sides, about {expected / 60:.0f} min, and some for the model and for starting servers.",
        flush=True,
    )
    model = Model(STATE / "model", read_reviews(given.texts), layers=given.layers)
    found = measure(model, sides, plan, runs, notes=_notes(given, model))
    is_whole = not given.quick and given.sides == list(SIDES)
    for benchmark in found:
        print(benchmark.write(RESULTS if is_whole else STATE / "results"))


def measure(
    model: Model, sides: Mapping[str, Side], plan: Plan, runs: KeptRuns, *, notes: Sequence[str]
) -> list[Benchmark]:
    """Return all parts of the benchmark, measured and judged."""
    measuring = Measuring(model, sides, plan, runs)
    whats = {name: side.what for name, side in sides.items()}
    whats[NATIVE] += f"; chosen at packaging: {model.chosen}"
    core = {name: what for name, what in whats.items() if name in CORE}
    start = Benchmark(
        name="serving-start",
        title="What a server takes",
        sides=whats,
        sizes=[1],
        size_unit="start",
        pairs=plan.starts,
        units={FIRST: "s", MEMORY: "MiB", INSTALLED: "MiB"},
        notes=(
            *notes[:1],
            "Each is started by itself. The first answer is that to a request which is sent again every 50 ms from the "
            "start on. Memory is the proportional set size of all its processes when 32 clients have asked 64 times; "
            "installed are the packages that it needs and all that they require, Java and PyTorch where it has them, "
            "without the model.",
        ),
        ours=NATIVE,
    )
    short = _speeds("serving", "Serving", whats, (_FEW, _MANY), plan.pairs, SHORT, notes)
    load = _speeds("serving-load", "Serving many clients", core, _CLIENTS, plan.pairs, SHORT, notes)
    mixed = _speeds("serving-mixed", "Serving mixed lengths", core, _CLIENTS, plan.mixed_pairs, MAX_LENGTH, notes)
    found = [start, short, load, mixed]
    measuring.starts(start)
    judge_start(start)
    measuring.speeds(SHORT, [short, load], seconds=plan.seconds)
    judge_short(short, model.difference())
    measuring.speeds(MAX_LENGTH, [mixed], seconds=1.5 * plan.seconds)
    judge_mixed(mixed)
    if LIMIT in sides:
        processor = Benchmark(
            name="serving-processor",
            title="Processor time of serving",
            sides={name: whats[name] for name in (NATIVE, LIMIT)},
            sizes=[SHORT, MAX_LENGTH],
            size_unit="tokens at most",
            pairs=plan.processor_pairs,
            units={PROCESSOR: "ms"},
            notes=(*notes, f"{_MANY} clients ask, or {_MANY} texts are computed at once; nothing else is up."),
            ours=NATIVE,
        )
        measuring.processor(processor, seconds=1.5 * plan.seconds)
        judge_processor(processor)
        found.append(processor)
    return found


def _code() -> str:
    """Return a hash of what is measured, so that no run of it counts beside those of another."""
    digest = hashlib.sha256((ROOT / "include" / "requirements.txt").read_bytes())
    for folder in ("native", "packaging", "serving"):
        for file in sorted((ROOT / "include" / "classifier" / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _speeds(
    name: str,
    title: str,
    sides: Mapping[str, str],
    sizes: Sequence[int],
    pairs: int,
    length: int,
    notes: Sequence[str],
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        sides=sides,
        sizes=sizes,
        size_unit="clients",
        pairs=pairs,
        units=UNITS,
        notes=(*notes, f"Reviews are cut to {length} tokens beforehand."),
        ours=NATIVE,
    )


def _notes(given: argparse.Namespace, model: Model) -> tuple[str, ...]:
    return (
        f"A DistilBERT of {given.layers} layers, 768 wide, with random weights.",
        f"{_DISTINCT_TEXTS} {'given' if given.texts else 'sample'} reviews over and over, one in a request. Each "
        "client has one request on its way at any time, over a connection that stays open. Clients are threads of a "
        "process of their own on the same machine; all servers of a table are up all the time. Who is told "
        "that a server is busy comes again after 50 ms. Every answer is compared with that of the packed or the "
        "trained model in-process.",
        f"Instruction sets that matter to int8: {instruction_sets()}.",
    )


def _numbered(benchmark: Benchmark) -> list[tuple[int, tuple[int, str]]]:
    """Return the runs of a benchmark with the number of their pair."""
    in_a_pair = len(benchmark.sizes) * len(benchmark.sides)
    return [(number // in_a_pair, run) for number, run in enumerate(benchmark.runs())]


def _merged(benchmarks: Sequence[Benchmark]) -> Benchmark:
    """Return one with all sides and sizes, whose runs are those of all."""
    first = benchmarks[0]
    return Benchmark(
        name=first.name,
        title=first.title,
        sides={name: what for each in benchmarks for name, what in each.sides.items()},
        sizes=sorted({size for each in benchmarks for size in each.sizes}),
        size_unit=first.size_unit,
        pairs=first.pairs,
        units=first.units,
    )


def _has(benchmark: Benchmark, size: int, side: str) -> bool:
    return size in benchmark.sizes and side in benchmark.sides


def _load(folder: Path) -> Any:
    from include.classifier.serving.cpus import threads_of_a_worker
    from include.classifier.serving.predictor import Predictor

    return Predictor.load(folder, device="cpu", threads=threads_of_a_worker(1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", default=",".join(SIDES), help=f"with commas between: {', '.join(SIDES)}")
    parser.add_argument("--quick", action="store_true", help="a trial of some minutes, which says little")
    parser.add_argument("--resume", action="store_true", help="take what an interrupted run has measured")
    parser.add_argument("--texts", type=Path, help="CSV with a column `text` (default: sample reviews)")
    parser.add_argument("--layers", type=int, default=6, help="of the model; fewer for a trial")
    given = parser.parse_args()
    asked = {name.strip() for name in given.sides.split(",")} | {"native"}
    if unknown := asked - SIDES.keys():
        parser.error(f"no such side: {', '.join(sorted(unknown))}; there are {', '.join(SIDES)}")
    given.sides = [name for name in SIDES if name in asked]
    for name in given.sides:
        if not SIDES[name][1].python.exists():
            parser.error(f"{name} is not installed: make bench-serving does it, or leave it out with SIDES=")
    return given


if __name__ == "__main__":
    main()
