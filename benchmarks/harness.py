"""What every benchmark shares: pairs of runs, ratios with their spread, growth over the sizes, and the file of results.

All sides do the same work at nearly the same time, one right after the other and in turns first, so that whatever
else the machine is doing falls on all. What counts is the ratio within each pair; single figures only say where it
comes from.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from pathlib import Path
from statistics import linear_regression, median

RESULTS = Path(__file__).parent / "results"

#: What 8-bit and 16-bit arithmetic is fast with, as Linux calls it; all but the first need a recent CPU.
_INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

#: The side that is compared with another.
OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, smallest and largest of some figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise the figures of all pairs."""
        return cls(median=median(values), low=min(values), high=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measure at one size.

    :param sides: name of the side -> its figures.
    :param ratios: name of each other side -> its figure divided by ours, pair by pair; empty where ours was nought.
    """

    size: int
    sides: dict[str, Spread]
    ratios: dict[str, Spread]

    @property
    def ratio(self) -> Spread | None:
        """The first other side's."""
        return next(iter(self.ratios.values()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that was measured, over the sizes.

    :param exponent: side -> how it grows: 1 is in step with the size, 0 not at all; ``None`` where it was nought.
    """

    what: str
    unit: str
    points: list[Point]
    exponent: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was to be reached.

    :param target: in words, for example ``≥ 50``; ``none`` for what is only stated.
    """

    what: str
    value: float
    target: str
    reached: bool


@dataclass(slots=True, kw_only=True)
class Benchmark:
    """One benchmark, from its runs to the file of its results.

    :param name: of the file in ``results``, and of the command.
    :param title: for people.
    :param sides: name -> what it is, ours first.
    :param sizes: three of them at least, where growth is to be told.
    :param size_unit: what the sizes count.
    :param pairs: how often all sides run at each size.
    :param units: measure -> its unit, in the order in which measures are shown.
    :param notes: what a reader must know to judge the figures.
    :param ours: the side that all others are compared with.
    """

    name: str
    title: str
    sides: Mapping[str, str]
    sizes: Sequence[int]
    size_unit: str
    pairs: int
    units: Mapping[str, str]
    notes: Sequence[str] = ()
    ours: str = OURS
    targets: list[Target] = field(default_factory=list)
    _figures: dict[tuple[int, str], list[Mapping[str, float]]] = field(default_factory=dict)

    def runs(self) -> Iterator[tuple[int, str]]:
        """Yield size and side of every run; the sides take turns in being first."""
        for pair in range(self.pairs):
            for size in self.sizes:
                names = list(self.sides)
                yield from ((size, name) for name in (names if pair % 2 == 0 else reversed(names)))

    def add(self, size: int, side: str, figures: Mapping[str, float]) -> None:
        """Take the figures of one run, one for each measure."""
        missing = self.units.keys() - figures.keys()
        if missing:
            raise ValueError(f"{self.name}: a run of {side!r} at {size} lacks {', '.join(sorted(missing))}.")
        self._figures.setdefault((size, side), []).append(figures)
        shown = ", ".join(f"{name} {figures[name]:.4g} {unit}" for name, unit in self.units.items())
        print(f"{size:>6} {self.size_unit}, {side}: {shown}", flush=True)

    def figures(self, what: str, size: int, side: str) -> list[float]:
        """Return one measure of every run of a side at one size, in the order of the pairs."""
        return [run[what] for run in self._figures[size, side]]

    def ours_by(self, what: str, size: int, side: str | None = None) -> float:
        """Return how many times another side's figure ours is, nought where ours is.

        :param side: default: the first other one.
        """
        ratio = self.by_ours(what, size, side)
        return 1 / ratio if ratio else 0.0

    def by_ours(self, what: str, size: int, side: str | None = None) -> float:
        """Return how many times our figure another side's is, nought where ours is; see :meth:`ours_by`."""
        point = self.at(what, size)
        ratio = point.ratios.get(side) if side else point.ratio
        return ratio.median if ratio else 0.0

    def measure(self, what: str) -> Measure:
        """Return one measure over all sizes."""
        points = [self._point(what, size) for size in self.sizes]
        exponent = {side: growth({point.size: point.sides[side].median for point in points}) for side in self.sides}
        return Measure(what=what, unit=self.units[what], points=points, exponent=exponent)

    def at(self, what: str, size: int) -> Point:
        """Return one measure at one size."""
        return next(point for point in self.measure(what).points if point.size == size)

    def require(self, what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """Compare a figure with its target; without a limit it is only stated."""
        value = round(value, 4)
        if at_least is not None:
            target, reached = f"≥ {at_least:g}", value >= at_least
        elif at_most is not None:
            target, reached = f"≤ {at_most:g}", value <= at_most
        else:
            target, reached = "none", True
        self.targets.append(Target(what=what, value=value, target=target, reached=reached))

    def write(self, folder: Path = RESULTS) -> Path:
        """Write the results; return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "name": self.name,
            "title": self.title,
            "machine": machine(),
            "load_average": round(os.getloadavg()[2], 1),
            "sides": dict(self.sides),
            "sizes": list(self.sizes),
            "size_unit": self.size_unit,
            "pairs": self.pairs,
            "notes": list(self.notes),
            "measures": [asdict(self.measure(what)) for what in self.units],
            "targets": [asdict(target) for target in self.targets],
        }
        file = folder / f"{self.name}.json"
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for target in self.targets:
            word = "reached" if target.reached else "MISSED"
            print(f"{word}: {target.what}: {target.value:g} (target {target.target})")
        return file

    def _point(self, what: str, size: int) -> Point:
        values = {side: self.figures(what, size, side) for side in self.sides}
        ours = values[self.ours]
        ratios = {
            side: Spread.of([their / our for our, their in zip(ours, theirs, strict=True)])
            for side, theirs in values.items()
            if side != self.ours and all(ours)
        }
        return Point(size=size, sides={side: Spread.of(found) for side, found in values.items()}, ratios=ratios)


def arguments(description: str, *, sizes: Sequence[int], pairs: int, counted: str = "") -> argparse.ArgumentParser:
    """Return what reads the arguments that every benchmark takes.

    :param sizes: the default.
    :param pairs: the default.
    :param counted: what the sizes count, where their name does not say it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(sizes), help=counted or None)
    parser.add_argument("--pairs", type=int, default=pairs)
    return parser


def clean_up_when_told_to_stop() -> None:
    """Let SIGTERM end this process as an error would: what it has started is not left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def growth(points: Mapping[int, float]) -> float | None:
    """Return the exponent ``b`` of the power law ``a * size ** b`` that fits best, ``None`` where a figure is nought.

    Least squares on the logarithms of both.
    """
    if len(points) < 2 or any(value <= 0 for value in points.values()):
        return None
    return round(linear_regression([log(size) for size in points], [log(value) for value in points.values()]).slope, 2)


def instruction_sets() -> str:
    """Return which of the CPU's instruction sets for neural networks there are, in words."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return ", ".join(name for name in _INSTRUCTION_SETS if name in flags) or "none known"


def machine() -> str:
    """Return in words what the figures were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1] for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line
        ]
        model = names[0].strip() if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
