"""Scores texts without a model: the label is the number of their characters, odd or even."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from include.classifier.batch.model import Scorer
from include.classifier.batch.output import Output
from include.classifier.batch.planning import make_plan
from include.classifier.batch.steps import finish_step, score_step
from include.contracts.batch.documents import Plan, Predictions
from include.contracts.settings import DataConfig

VERSION = "20260101000000"
SHA256 = "0" * 64
READING: dict[str, Any] = {"train": ["somewhere.csv"], "text_column": "text", "labels": ["even", "odd"]}


class Tokens(NamedTuple):
    input_ids: list[list[int]]
    truncated: list[bool]


class Counting:
    """A predictor; texts that it is told to fail on it fails on, and remembers all that it has scored."""

    labels = ("even", "odd")

    def __init__(self, *, fails_on: str = "", dies_after: int | None = None) -> None:
        self.texts: list[str] = []
        self._fails_on, self._left = fails_on, dies_after

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        self.texts += texts
        if self._fails_on and any(self._fails_on in text for text in texts):
            raise RuntimeError(f"cannot tokenise {texts}")
        return Tokens([[len(text)] for text in texts], [len(text) > 20 for text in texts])

    def probabilities(self, rows: Sequence[list[int]]) -> list[list[float]]:
        if self._left is not None:
            self._left -= len(rows)
            if self._left < 0:
                raise KeyboardInterrupt
        return [[0.25, 0.75] if length % 2 else [0.875, 0.125] for (length,) in rows]


def plan(folder: Path | str, data: Path | str, *, shard_rows: int = 3, **settings: Any) -> Plan:
    told: dict[str, Any] = {"model": "reviews", "version": VERSION, "archive_sha256": SHA256, "allowed_sources": ["*"]}
    told |= {name: settings.pop(name) for name in list(settings) if name in told}
    reading = DataConfig.model_validate(READING | settings | {"train": [str(data)]})
    return make_plan(reading, output=Output(str(folder)), shard_rows=shard_rows, **told)


def score(folder: Path | str, predictor: Any = None, *, worker: int = 0, workers: int = 1, **settings: Any) -> None:
    @contextmanager
    def load(plan: Plan) -> Iterator[Scorer]:
        yield Scorer(predictor or Counting())

    score_step(
        worker=worker,
        workers=workers,
        output_uri=str(folder),
        archive_uri="",
        archive_sha256=SHA256,
        reading=READING | settings,
        allowed_sources=["*"],
        load=load,
    )


def predict(folder: Path, data: Path, predictor: Any = None, *, shard_rows: int = 3, **settings: Any) -> Predictions:
    """Plan, score with one worker and finish."""
    plan(folder, data, shard_rows=shard_rows, **settings)
    score(folder, predictor, **settings)
    return finish_step(output_uri=str(folder))


def predicted(folder: Path) -> list[dict[str, Any]]:
    return _rows(folder / "predictions")


def rejected(folder: Path) -> list[tuple[str, int, str]]:
    return [(Path(row["file"]).name, row["row"], row["reason"]) for row in _rows(folder / "rejected")]


def _rows(folder: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return [row for path in sorted(folder.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]
