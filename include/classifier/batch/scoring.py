"""Scores one shard: its rows in windows, the next of which is read while the model computes."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from include.classifier.batch.model import Scorer, Scores
from include.classifier.batch.output import Output, predictions_name, rejected_name
from include.classifier.batch.planning import changed
from include.classifier.batch.rejections import EMPTY, FAILED
from include.classifier.batch.rows import Chunk, json_column, read_chunks
from include.classifier.data.checks import characters, check_texts
from include.classifier.data.problems import DataError
from include.classifier.data.sources import Source
from include.classifier.packaging.archive import sha256_of
from include.classifier.progress import first_line
from include.contracts.batch.documents import (
    LABEL,
    PROBABILITY,
    TRUNCATED,
    VERSION,
    Plan,
    Receipt,
    Span,
    WrittenFile,
)
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Rows that are tokenised, sorted by length and scored together; with more, batches waste hardly less padding.
_WINDOW_ROWS = 4096
#: And no more characters than that: what is in memory must not grow with what somebody sends.
_WINDOW_CHARACTERS = 16 << 20
#: Different reasons that a receipt counts apart.
_MOST_REASONS, _OTHERS = 20, "other reasons"


class ScoringError(RuntimeError):
    """The model cannot score; the message repeats no text."""


class Window(NamedTuple):
    """Some rows of a file, one after the other."""

    file: str
    numbers: np.ndarray  #: Line or row index of each row, int64.
    table: pa.Table  #: The input's columns.
    texts: list[str]
    reasons: list[str | None]  #: Why a row is rejected before the model sees it.
    unreadable: dict[int, str]  #: Line -> reason, of lines that are no rows.


def score_shard(
    index: int,
    plan: Plan,
    data: DataConfig,
    scorer: Scorer,
    output: Output,
    *,
    allowed_sources: Sequence[str],
    tell: Callable[[int], None],
) -> Receipt:
    """Score the rows of a shard and write its files, the receipt last.

    :param index: of the shard in the plan.
    :param data: how rows are read, with the settings of the plan.
    :param tell: is called with the number of rows that were scored, again and again.
    :raises DataError: when the input is not the one of the plan any more.
    :raises ScoringError: when the model fails on every row.
    """
    began = time.monotonic()
    shard = plan.shards[index]
    with ExitStack() as files:
        written = _Writer(plan, scorer.labels, index, lambda name: files.enter_context(output.new_file(name)))
        for window, scores in _scored(_windows(shard.spans, plan, data, allowed_sources), scorer):
            written.add(window, scores)
            tell(len(window.numbers))
        if written.rows != shard.rows:
            raise DataError(
                f"Shard {index} of {plan.data_uri} has {written.rows:,} rows, and the plan says {shard.rows:,}: it was "
                "made by another version of this program. Predict into a new folder."
            )
        predicted, rejected = written.close()
    receipt = Receipt(
        schema_version=1,
        model=plan.model,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        plan_sha256=plan.sha256,
        shard=index,
        predicted=predicted,
        rejected=rejected,
        reasons=dict(sorted(written.reasons.items())),
        truncated=written.truncated,
        label_counts=dict(written.labels),
        seconds=round(time.monotonic() - began, 3),
    )
    output.write(receipt)
    return receipt


def _windows(spans: Sequence[Span], plan: Plan, data: DataConfig, allowed_sources: Sequence[str]) -> Iterator[Window]:
    for span in spans:
        file = plan.files[span.file]
        with Source(file.uri, "train", allowed_sources).on_this_machine() as local:
            path = Path(local.uri)
            if sha256_of(path) != file.sha256:
                raise changed(file.uri)
            before = path.stat()
            names = [] if plan.format == "jsonl" else [column.name for column in plan.columns]
            for chunk in read_chunks(local, data, names):
                begin = _begin(chunk)
                if span.end is not None and begin is not None and begin >= span.end:
                    break
                yield from _cut(_within(chunk, span, local, plan, data))
            after = path.stat()
            if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
                raise changed(file.uri)


def _begin(chunk: Chunk) -> int | None:
    """Return the number of a chunk's first row or line; ``None`` of an empty one."""
    found = [*chunk.numbers[:1].tolist(), *chunk.unreadable]
    return min(found) if found else None


def _within(chunk: Chunk, span: Span, source: Source, plan: Plan, data: DataConfig) -> Window:
    """Return the rows of a chunk that belong to a span, checked."""
    import numpy as np
    import pyarrow as pa

    end = np.iinfo(np.int64).max if span.end is None else span.end
    begin, stop = np.searchsorted(chunk.numbers, [span.begin, end]).tolist()
    numbers = chunk.numbers[begin:stop]
    raw = [values[begin:stop] for values in chunk.columns]
    if plan.format == "jsonl":
        columns = [json_column(raw[0], column) for column in plan.columns]
        raw_texts: list[Any] = [[record.get(name) for record in raw[0]] for name in data.text_columns]
    else:
        columns = [values if isinstance(values, pa.Array) else pa.array(values, pa.string()) for values in raw]
        places = [column.name for column in plan.columns]
        raw_texts = [columns[places.index(name)] for name in data.text_columns]
    checked = check_texts(raw_texts, data)
    reasons: list[str | None] = [None] * len(numbers)
    for row in np.flatnonzero(characters(checked.cleaned) == 0).tolist():
        reasons[row] = EMPTY
    # The more telling one last, so that it stays.
    for what, fails in checked.refused.items():
        for row in np.flatnonzero(fails).tolist():
            reasons[row] = what
    for number, what in chunk.spoiled.items():
        if span.begin <= number < end:
            reasons[int(np.searchsorted(numbers, number))] = what
    table = pa.Table.from_arrays(columns, names=[column.name for column in plan.columns])
    unreadable = {line: what for line, what in chunk.unreadable.items() if span.begin <= line < end}
    return Window(source.name, numbers, table, checked.cleaned.to_pylist(), reasons, unreadable)


def _cut(window: Window) -> Iterator[Window]:
    """Yield rows in pieces that go through the model together."""
    begin, size, unreadable = 0, 0, window.unreadable
    for row, text in enumerate(window.texts):
        size += len(text)
        if row + 1 == len(window.texts) or row + 1 - begin == _WINDOW_ROWS or size >= _WINDOW_CHARACTERS:
            end = row + 1
            yield Window(
                window.file,
                window.numbers[begin:end],
                window.table.slice(begin, end - begin),
                window.texts[begin:end],
                window.reasons[begin:end],
                unreadable,
            )
            begin, size, unreadable = end, 0, {}
    if unreadable and not window.texts:
        yield window


def _scored(windows: Iterator[Window], scorer: Scorer) -> Iterator[tuple[Window, list[Scores]]]:
    """Yield each window with what the model says of its rows, one entry for each that is not rejected.

    While it computes, the next window is read and tokenised in a thread of its own.
    """

    def prepare() -> tuple[Window, Any] | None:
        if (window := next(windows, None)) is None:
            return None
        texts = [text for text, reason in zip(window.texts, window.reasons, strict=True) if reason is None]
        try:
            return window, scorer.read(texts) if texts else ()
        except Exception:  # told of row by row, without the texts that its message may repeat
            return window, None

    with ThreadPoolExecutor(1, thread_name_prefix="read") as thread:
        coming = thread.submit(prepare)
        while found := coming.result():
            coming = thread.submit(prepare)
            window, tokens = found
            try:
                scores = None if tokens is None else _together(scorer, tokens)
                yield window, scores if scores is not None else _one_by_one(window, scorer, lock=coming)
            except BaseException:
                coming.cancel()
                raise


def _together(scorer: Scorer, tokens: Any) -> list[Scores] | None:
    """Return what the model says, nothing of no text; ``None`` where it fails."""
    if not tokens:
        return []
    try:
        return [scorer.score(tokens)]
    except MemoryError:
        raise
    except Exception as error:
        if "out of memory" in str(error):
            raise ScoringError(f"The model failed: {first_line(error)}.") from None
        return None


def _one_by_one(window: Window, scorer: Scorer, *, lock: Any) -> list[Scores]:
    """Score a window whose rows cannot be scored together; those on which the model fails are rejected.

    :param lock: what reads in the other thread; a tokenizer is not to be used by two.
    :raises ScoringError: when that is all of them.
    """
    lock.exception()  # waits for its end
    found: list[Scores] = []
    for row, text in enumerate(window.texts):
        if window.reasons[row] is None:
            try:
                found.append(scorer.score(scorer.read([text])))
            except Exception as error:
                window.reasons[row] = FAILED
                # Without its message, which may repeat a text.
                where = "".join(traceback.format_tb(error.__traceback__)[-1:]).strip()
                kind = type(error).__name__
    if not found:
        raise ScoringError(f"The model fails on every row of a window with {kind}: {where}.")
    return found


class _Writer:
    """Writes the rows of a shard to two files, in their order.

    :param new_file: returns where to write a file of the output by its name.
    """

    def __init__(self, plan: Plan, labels: Sequence[str], shard: int, new_file: Callable[[str], Path]) -> None:
        self.truncated = self.rows = 0
        self.reasons: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self._plan, self._names = plan, list(labels)
        self._predicted = _Table(predictions_name(shard), new_file)
        self._rejected = _Table(rejected_name(shard), new_file)

    def add(self, window: Window, scores: Sequence[Scores]) -> None:
        """Write a window.

        :param scores: of its rows that are not rejected, in one piece or in several.
        """
        import numpy as np
        import pyarrow as pa

        self.rows += len(window.numbers)
        rejected = np.array([reason is not None for reason in window.reasons], dtype=bool)
        classes = [value for piece in scores for value in piece.classes]
        probabilities = [value for piece in scores for value in piece.probabilities]
        truncated = [value for piece in scores for value in piece.truncated]
        kept = window.table.filter(pa.array(~rejected))
        labels = pa.array(self._names, pa.string()).take(pa.array(classes, pa.int64()))
        columns = {
            LABEL: labels,
            PROBABILITY: pa.array(probabilities, pa.float64()),
            VERSION: pa.repeat(self._plan.version, len(kept)),
            TRUNCATED: pa.array(truncated, pa.bool_()),
        }
        for name, values in columns.items():
            kept = kept.append_column(name, values)
        self._predicted.write(kept)
        self.truncated += sum(truncated)
        self.labels.update(labels.to_pylist())
        if rejected.any() or window.unreadable:
            self._rejected.write(_rejected_rows(window))
            for reason in (*filter(None, window.reasons), *window.unreadable.values()):
                self.reasons[reason if reason in self.reasons or len(self.reasons) < _MOST_REASONS else _OTHERS] += 1

    def close(self) -> tuple[WrittenFile, WrittenFile | None]:
        """End both files and return what was written; none where no row was rejected."""
        predicted = self._predicted.close()
        assert predicted is not None, "a shard has rows"
        return predicted, self._rejected.close()


class _Table:
    """A Parquet file that is made when its first rows come."""

    def __init__(self, name: str, new_file: Callable[[str], Path]) -> None:
        self._name, self._new_file = name, new_file
        self._rows = 0
        self._path: Path | None = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        from pyarrow import parquet

        if self._path is None:
            self._path = self._new_file(self._name)
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        if len(table):
            self._writer.write_table(table)
            self._rows += len(table)

    def close(self) -> WrittenFile | None:
        if self._path is None:
            return None
        self._writer.close()
        size, digest = self._path.stat().st_size, sha256_of(self._path)
        return WrittenFile(file=self._name, rows=self._rows, size_bytes=size, sha256=digest)


def _rejected_rows(window: Window) -> pa.Table:
    """Return where rows stand and why they are rejected; whoever wants their texts finds them in the input."""
    import pyarrow as pa

    found = [
        *((number, reason) for number, reason in zip(window.numbers.tolist(), window.reasons, strict=True) if reason),
        *window.unreadable.items(),
    ]
    numbers, reasons = zip(*sorted(found), strict=True)
    return pa.table(
        {
            "file": pa.repeat(window.file, len(numbers)),
            "row": pa.array(numbers, pa.int64()),
            "reason": pa.array(reasons, pa.string()),
        }
    )
