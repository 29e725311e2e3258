"""Reads, checks and cleans the rows of all sources; they wait on disk until it is known which of them are kept."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from include.classifier.data.checks import Checked, RowChecks, UnknownLabels
from include.classifier.data.contents.personal_data import PersonalData
from include.classifier.data.formats.batches import Batch
from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.problems import PLACES_SHOWN, DataError, Places, Problems, some
from include.classifier.data.readers import read_batches
from include.classifier.data.repeated import TextIndex
from include.classifier.data.row_store import RowStore
from include.classifier.data.slice_columns import SliceColumns
from include.classifier.data.sources import Source, SplitName
from include.contracts.data.personal_data import PersonalDataConfig
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np

_PROGRESS_ROWS = 100_000


class FirstRows:
    """How long the first texts of a split are, and their labels: numbers that show it when the wrong column is read.

    :param label_names: in the order of the classes.
    """

    _MOST = 1000

    def __init__(self, split: SplitName, label_names: Sequence[str]) -> None:
        self._split, self._label_names = split, label_names
        self.lengths: list[int] = []  #: In characters.
        self.classes: list[int] = []

    def add(self, checked: Checked) -> None:
        """Take the next rows, as long as they are among the first, and print what is known once these are complete."""
        from pyarrow import compute

        if left := self._MOST - len(self.lengths):
            self.extend(compute.utf8_length(checked.texts.slice(0, left)).to_pylist(), checked.classes[:left].tolist())

    def extend(self, lengths: Sequence[int], classes: Sequence[int]) -> None:
        """Take the next rows by what is known of them."""
        if left := self._MOST - len(self.lengths):
            self.lengths += lengths[:left]
            self.classes += classes[:left]
            if len(self.lengths) == self._MOST:
                self._print()

    def end(self) -> None:
        """Print what is known of fewer rows."""
        if 0 < len(self.lengths) < self._MOST:
            self._print()

    def _print(self) -> None:
        lengths = sorted(self.lengths)
        half, most = (lengths[math.ceil(share * len(lengths)) - 1] for share in (0.5, 0.95))
        counts = [(name, self.classes.count(index)) for index, name in enumerate(self._label_names)]
        found = [f"{name} {count:,}" for name, count in sorted(counts, key=lambda each: -each[1]) if count]
        unknown = f"; not known {count:,}" if (count := self.classes.count(-1)) else ""
        print(
            f"{self._split}, first {len(lengths):,} rows: {lengths[0]:,} to {lengths[-1]:,} characters, half at most "
            f"{half:,}, 95 % at most {most:,}; labels: {some(found) or 'none'}{unknown}.",
            flush=True,
        )


@dataclass
class Rows:
    """All rows in the order of the sources, whether they are kept or not.

    :param sources: where they come from, those of training first.
    :param store: the rows themselves.
    :param texts: the texts of those that nothing is wrong with.
    :param ends: position behind the last row of each source.
    :param unknown_labels: what stands in the label column besides the model's labels.
    :param personal_data: how many rows hold some.
    :param label_types: sorts of values that stand in the label column.
    """

    sources: Sequence[Source]
    store: RowStore
    texts: TextIndex
    ends: list[int] = field(default_factory=list)
    unknown_labels: UnknownLabels = field(default_factory=UnknownLabels)
    personal_data: PersonalData = field(default_factory=lambda: PersonalData(PersonalDataConfig()))
    label_types: set[str] = field(default_factory=set)

    def take(self, checked: Checked, batch: Batch) -> None:
        """Take the next rows of a source, in the order of the sources."""
        import numpy as np
        import pyarrow as pa

        kept = checked.reasons == 0
        self.texts.add(checked.texts.filter(pa.array(kept)), len(self.store) + np.flatnonzero(kept))
        self.store.append(checked, batch.numbers, batch.slices)

    def end_source(self) -> None:
        """Take no more of it."""
        self.ends.append(len(self.store))

    def span(self, split: SplitName) -> slice:
        """Return the positions of a split's rows."""
        trained_on = sum(source.split == "train" for source in self.sources)
        border = self.ends[trained_on - 1] if trained_on else 0
        return slice(0, border) if split == "train" else slice(border, len(self.store))

    def counts(self) -> list[int]:
        """Return how many rows each source has."""
        return [end - begin for begin, end in zip([0, *self.ends], self.ends, strict=False)]

    def places(self, chosen: np.ndarray) -> Places:
        """Return where some rows stand.

        :param chosen: bool, shape (rows,).
        """
        first: list[str] = []
        position = 0
        while len(first) < PLACES_SHOWN and chosen[position:].any():
            position += int(chosen[position:].argmax())
            source = self.sources[bisect_right(self.ends, position)]
            first.append(f"{source.name} {source.place(self.store.number(position))}")
            position += 1
        return Places(first, int(chosen.sum()))


class Sink(Protocol):
    """Takes rows as they are read."""

    def take(self, checked: Checked, batch: Batch) -> None:
        """Take the next rows of a source."""

    def end_source(self) -> None:
        """Take no more of it."""


class Findings:
    """What is found out about rows while they are read.

    :param in_files: gathers what is wrong with files.
    """

    def __init__(self, data: DataConfig, splits: Iterable[SplitName], in_files: Problems) -> None:
        self.in_files, self.in_rows = in_files, Problems()
        self.unknown_labels = UnknownLabels()
        self.personal_data = PersonalData(data.personal_data)
        self.label_types: set[str] = set()
        self.first = {split: FirstRows(split, list(data.labels.values())) for split in splits}


def read_sources(
    sources: Iterable[Source], data: DataConfig, sink: Sink, found: Findings, dates: RowDates | None = None
) -> None:
    """Read sources one after the other, printing how far it is with a long one.

    :param found: gathers what there is to say of them.
    :param dates: leaves out training rows of other days.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    columns = SliceColumns(data)
    checks = RowChecks(data, found.in_rows)
    checks.unknown_labels, checks.personal_data = found.unknown_labels, found.personal_data
    checks.label_types = found.label_types
    for source in sources:
        read = dates.read if dates and source.split == "train" else read_batches
        try:
            for batch in _with_progress(columns.read(read, source, data, found.in_files), source):
                checked = checks.check(batch, source)
                sink.take(checked, batch)
                found.first[source.split].add(checked)
        except DataError as error:
            found.in_files.take(error)
        sink.end_source()


@contextmanager
def read_rows(
    sources: Sequence[Source], data: DataConfig, problems: Problems, dates: RowDates | None = None
) -> Iterator[Rows]:
    """Read all sources; the rows are gone when the context ends.

    :param problems: gathers what is wrong with the files and their rows.
    :param dates: leaves out training rows of other days.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    with gathered_rows(
        sources, data, problems, lambda rows, found: read_sources(sources, data, rows, found, dates)
    ) as rows:
        yield rows


@contextmanager
def gathered_rows(
    sources: Sequence[Source], data: DataConfig, problems: Problems, gather: Callable[[Rows, Findings], None]
) -> Iterator[Rows]:
    """Yield the rows of all sources, from wherever they come; they are gone when the context ends.

    :param problems: gets what is wrong with the files and their rows.
    :param gather: hands over the rows in their order, and what is found out about them.
    """
    slices = SliceColumns(data).names
    with RowStore(class_count=len(data.labels), slices=slices) as store, TextIndex() as texts:
        found = Findings(data, (source.split for source in sources), problems)
        rows = Rows(
            sources,
            store,
            texts,
            unknown_labels=found.unknown_labels,
            personal_data=found.personal_data,
            label_types=found.label_types,
        )
        gather(rows, found)
        for each in found.first.values():
            each.end()
        problems.extend(found.in_rows)
        store.seal()
        yield rows


def _with_progress(batches: Iterator[Batch], source: Source) -> Iterator[Batch]:
    count = 0
    for batch in batches:
        yield batch
        before, count = count, count + len(batch.numbers)
        if count // _PROGRESS_ROWS > before // _PROGRESS_ROWS:
            print(f"{source.name}: {count // _PROGRESS_ROWS * _PROGRESS_ROWS:,} rows read.", flush=True)
