"""Reads CSV and TSV: in chunks where that is sure to give what the csv module would, row by row where it is not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from include.classifier.data.checks import LabelIndex
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.headers import has_columns, numbered_columns
from include.classifier.data.formats.lines import Lines
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


#: What else than commas separates the columns of a .csv: Excel writes semicolons where a comma is the decimal point.
_OTHER_DELIMITERS = ";\t|"


class Layout(NamedTuple):
    """What a delimited file looks like."""

    delimiter: str
    quoted: bool  #: Whether a quotation mark begins and ends a field; in a .tsv it is a character like any other.
    columns: int
    texts: tuple[int, ...]  #: Indices of the columns with the text.
    label: int
    longest_field: int  #: In characters; the csv module's limit.
    counted_in: str = "header"  #: What says how many columns there are.


class Chunk(NamedTuple):
    """What could be read at once from the beginning of some lines."""

    batch: Batch
    lines: int  #: That the rows take.
    size: int  #: Bytes that the rows take.


def read_delimited(lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read a file with a header, which the first line that is not empty holds, or one without, by column numbers.

    Where only another separator than the usual one gives the columns that the settings name, it is that.

    :param problems: gathers rows with too few or too many fields, and quoting that is broken, which ends the file.
    """
    # The csv module's own limit is 131,072; without any, a quotation mark that is never closed eats the whole file.
    longest_field = max(131_072, 2 * data.max_text_characters)
    csv.field_size_limit(longest_field)
    quoted = source.format != "tsv"
    find_columns = read_header if data.has_header else _look_at_first_row
    found = find_columns(lines, source, data, problems, "," if quoted else "\t")
    if found is None:
        return
    delimiter, header = found
    *texts, label = (header.index(name) for name in data.columns)
    counted_in = "header" if data.has_header else "first row"
    layout = Layout(delimiter, quoted, len(header), tuple(texts), label, longest_field, counted_in)
    reader = _records(lines, delimiter, quoted=quoted)
    whole = True
    while whole and (ahead := lines.look_ahead()):
        chunk = read_chunk(ahead, layout, lines.number + 1)
        if chunk:
            lines.skip(lines=chunk.lines, size=chunk.size)
            yield chunk.batch
        else:
            batch, whole = _read_row_by_row(reader, lines, layout, source, problems)
            yield batch


def read_header(
    lines: Lines, source: Source, data: DataConfig, problems: Problems, delimiter: str
) -> tuple[str, list[str]] | None:
    """Return delimiter and names of the columns, ``None`` when something is wrong with them."""
    first = next((line for line in lines if line.strip("\r\n")), None)
    if first is None:
        _say_blank(lines, source, problems)
        return None
    quoted = source.format != "tsv"
    for each in (delimiter, *_OTHER_DELIMITERS):
        with suppress(csv.Error):  # to be told of by reading it
            if set(data.columns) <= set(next(_records([first], each, quoted=quoted, strict=False))):
                delimiter = each
                break
    header = _next_record(_records(chain([first], lines), delimiter, quoted=quoted), source, lines.number, problems)
    return (delimiter, header) if header and has_columns(header, source, data, problems) else None


def _look_at_first_row(
    lines: Lines, source: Source, data: DataConfig, problems: Problems, delimiter: str
) -> tuple[str, list[str]] | None:
    """Return delimiter and numbers of the columns, ``None`` when something is wrong; the row itself is still to come.

    The delimiter is the first that leaves a label that the model knows in its column, or else one with all columns.
    """
    quoted, places = source.format != "tsv", [int(number) for number in data.columns]
    rows: dict[str, list[str]] = {}
    for each in (delimiter, *_OTHER_DELIMITERS):
        try:
            rows[each] = next(filter(None, _records(lines.to_come(), each, quoted=quoted, strict=False)), [])
        except csv.Error as error:
            broken = error
    if not rows:
        _say_broken(broken, source, lines.number + 1, problems)
        return None
    if not any(rows.values()):
        _say_blank(lines, source, problems)
        return None
    whole = [each for each, row in rows.items() if len(row) >= max(places)]
    known = LabelIndex(list(data.labels))
    labels = {each: rows[each][places[-1] - 1] for each in whole}
    # White space around a label counts for nothing, but a tab there is what else divides the row.
    likely = [each for each, label in labels.items() if "\t" not in label and known.find(label) >= 0]
    chosen = next(iter([*likely, *whole, delimiter]))
    numbers = numbered_columns(len(rows.get(chosen, [])), source, data, problems)
    return (chosen, numbers) if numbers else None


def _say_blank(lines: Lines, source: Source, problems: Problems) -> None:
    if lines.sample and not lines.broken:
        problems.add(source.name, "holds nothing but empty lines", "Check whether writing it has failed.")


def _say_broken(error: csv.Error, source: Source, line: int, problems: Problems) -> None:
    problems.add(
        source.name,
        f"the quoting is broken in the row that begins here ({error})",
        'Put texts in "quotation marks", double those inside them (""), and close each.',
        place=source.place(line),
    )


def _records(lines: Iterable[str], delimiter: str, *, quoted: bool, strict: bool = True) -> Iterator[list[str]]:
    return csv.reader(
        lines, strict=strict, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )


def _read_row_by_row(
    reader: Iterator[list[str]], lines: Lines, layout: Layout, source: Source, problems: Problems
) -> tuple[Batch, bool]:
    """Return the rows of the lines that were looked at, and whether reading can go on."""
    import numpy as np

    numbers, labels = [], []
    texts: list[list[str]] = [[] for _ in layout.texts]
    record: list[str] | None = []
    while lines.looked_ahead and record is not None:
        line = lines.number + 1
        record = _next_record(reader, source, line, problems)
        if record and len(record) != layout.columns:  # an empty line is none
            problems.add(
                source.name,
                f"the row has {len(record)} fields, the {layout.counted_in} has {layout.columns}",
                "Put texts that contain the delimiter or a line break in quotation marks."
                if layout.quoted
                else "A .tsv has no quotation marks around texts: write texts with tabs or line breaks as .csv.",
                place=source.place(line),
                row=line,
            )
        elif record:
            numbers.append(line)
            for column, index in zip(texts, layout.texts, strict=True):
                column.append(record[index])
            labels.append(record[layout.label])
    return Batch(np.array(numbers, dtype=np.int64), texts, labels), record is not None


def _next_record(reader: Iterator[list[str]], source: Source, line: int, problems: Problems) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        _say_broken(error, source, line, problems)
    return None


def read_chunk(chunk: bytes, layout: Layout, line: int) -> Chunk | None:
    """Read the whole rows at the beginning of a chunk at once.

    Arrow's reader takes for right what the csv module refuses, so that a chunk must be free of all doubt: only
    quotation marks that begin or end a field or are doubled in a quoted one, line ends of one kind within a line, no
    field that is too long, as many fields in each row as in the header, UTF-8.

    :param chunk: whole lines; the first one begins a row.
    :param line: number of that line.
    :return: ``None`` where only reading row by row can tell.
    """
    rows = _find_rows(chunk, layout)
    if rows is None:
        return None
    size = int(rows.ends[-1]) + 1
    table = _parse(chunk, size, layout)
    if table is None or len(table) != len(rows.lines):
        return None
    *texts, labels = (table.column(str(index)).combine_chunks() for index in (*layout.texts, layout.label))
    return Chunk(Batch(line + rows.lines, texts, labels), rows.line_count, size)


class _Rows(NamedTuple):
    ends: np.ndarray  #: Position of the line break that ends each row, empty lines included.
    lines: np.ndarray  #: Index of the line in which each row begins, without empty lines.
    line_count: int


def _find_rows(chunk: bytes, layout: Layout) -> _Rows | None:
    """Find where rows begin and end, ``None`` where a quotation mark or a row is out of the ordinary."""
    import numpy as np

    content = np.frombuffer(chunk, np.uint8)
    newlines = np.flatnonzero(content == _NEWLINE)
    quotes = np.flatnonzero(content == _QUOTE) if layout.quoted else np.empty(0, dtype=np.int64)
    # An odd number of quotation marks before a line break: it belongs to a text.
    ending = np.flatnonzero(np.searchsorted(quotes, newlines) % 2 == 0)
    if not len(ending):
        return None
    ends = newlines[ending]
    quotes = quotes[quotes < ends[-1]]
    opening, closing = quotes[::2], quotes[1::2]
    beside = [_QUOTE, ord(layout.delimiter), _NEWLINE]
    before = content[opening[opening > 0] - 1]
    if not (np.isin(before, beside).all() and np.isin(content[closing + 1], [*beside, _RETURN]).all()):
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts
    if lengths.max() > layout.longest_field:
        return None
    filled = (lengths > 1) | ((lengths == 1) & (content[starts] != _RETURN))
    lines = np.concatenate(([0], ending[:-1] + 1))
    return _Rows(ends, lines[filled], int(ending[-1]) + 1)


def _parse(chunk: bytes, size: int, layout: Layout) -> pa.Table | None:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not _is_plain_text(chunk):
        return None
    names = [str(index) for index in range(layout.columns)]
    wanted = [names[index] for index in (*layout.texts, layout.label)]
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(chunk).slice(0, size)),
            arrow_csv.ReadOptions(column_names=names, block_size=size + 1, use_threads=False),
            arrow_csv.ParseOptions(
                delimiter=layout.delimiter, quote_char='"' if layout.quoted else False, newlines_in_values=layout.quoted
            ),
            arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:  # a row with too few or too many fields
        return None


def _is_plain_text(chunk: bytes) -> bool:
    """Return whether it is UTF-8 with line breaks of the usual two kinds."""
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    returns = chunk.count(b"\r")
    return not ((returns and returns != chunk.count(b"\r\n")) or b"\0" in chunk or chunk.startswith(_BYTE_ORDER_MARK))
