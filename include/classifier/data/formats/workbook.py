"""Reads the first sheet of a workbook (``.xlsx``), with the package openpyxl where that is installed."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError
from xml.parsers import expat

from include.classifier.data.bounds import most_bytes, unbounded
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.cells import cell_text
from include.classifier.data.formats.headers import has_columns, numbered_columns
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    from openpyxl.cell.read_only import ReadOnlyCell

Row = tuple[int, Sequence["ReadOnlyCell"]]

#: What a workbook may unpack to: so much whatever its size, so many times its size (tables have ten), and never more
#: than this, because its texts are held in memory.
_FREE_BYTES, _LARGEST_RATIO, _MOST_BYTES = 16 << 20, 30, 512 << 20
#: And what it may be made of: elements of XML become objects of a hundred times their size, those of a row for a while.
_MOST_PARTS, _MOST_ROWS, _MOST_CELLS, _MOST_ELEMENTS_OF_ROW = 10_000, 1_048_576, 16_384, 1_000_000
#: Elements that are of no row, such as texts: so many whatever its size, for each of its bytes, and at most.
_FREE_ELEMENTS, _ELEMENTS_PER_BYTE, _MOST_ELEMENTS = 500_000, 5, 5_000_000
#: Columns among which those of the settings are looked for.
_MOST_COLUMNS = 1024
_BATCH_ROWS, _BATCH_CHARACTERS = 16_384, 4 << 20
#: What openpyxl makes of files that are not what they should be.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, ParseError, EOFError, NotImplementedError, RuntimeError),
    *(LookupError, ValueError, TypeError, AttributeError, OverflowError),
)


def read_workbook(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read rows whose texts and labels are what a person sees in the cells; of a formula that is its value.

    :param problems: gathers what is wrong with the file.
    :raises DataError: when it unpacks to more than could be data.
    """
    try:
        import openpyxl  # noqa: F401  the message is better than its own
    except ImportError:
        problems.add(
            source.name,
            "is a workbook, and the package openpyxl, which reads it, is not there",
            "Install it where preprocessing runs (pip install openpyxl), or save the sheet as CSV.",
        )
        return
    # Its warnings hold what stands in cells.
    warnings.filterwarnings("ignore", module=r"openpyxl\.")
    try:
        if not file.seekable():
            raise zipfile.BadZipFile
        _check_parts(file, source)
        yield from _Sheet(file, source).batches(data, problems)
    except DataError:
        raise
    except _BROKEN:
        remedy = "Save it anew as .xlsx, not compressed and without a password, or save the sheet as CSV."
        problems.add(source.name, "is not a workbook that can be read", remedy)


def _check_parts(file: IO[bytes], source: Source) -> None:
    """Make sure, before a part is read, that all of them fit into memory and none does harm."""
    packed = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)  # no more than this is unpacked of any
        if size > _MOST_BYTES:
            raise DataError(f"{source.name}: unpacks to more than {_MOST_BYTES >> 20} MB. Save the sheet as CSV.")
        if len(parts) > _MOST_PARTS or size > max(_FREE_BYTES, _LARGEST_RATIO * packed):
            raise unbounded(source.name, _LARGEST_RATIO)
        left = min(_MOST_ELEMENTS, max(_FREE_ELEMENTS, _ELEMENTS_PER_BYTE * packed))
        for part in parts:
            with archive.open(part) as content:
                left = _Elements(left).count(content)


class _Elements:
    """Counts the elements of a part's XML, with their attributes, and knows what no workbook has.

    :param left: so many may be outside of rows.
    """

    def __init__(self, left: int) -> None:
        self._left = left
        self._rows = self._cells = 0
        self._left_of_row = _MOST_ELEMENTS_OF_ROW

    def count(self, content: IO[bytes]) -> int:
        """Return how many are left; of a picture there are none.

        :raises ValueError: when there are too many, or the part defines words of its own: these may unfold without an
            end.
        """
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartDoctypeDeclHandler = self._type_begins
        parser.StartElementHandler = self._element_begins
        with suppress(expat.ExpatError):
            while chunk := content.read(1 << 16):
                parser.Parse(chunk)
        return self._left

    def _type_begins(self, *_: Any) -> None:
        raise ValueError("a document type")

    def _element_begins(self, name: str, attributes: dict[str, str]) -> None:
        if name.endswith("}row"):
            self._rows, self._cells, self._left_of_row = self._rows + 1, 0, _MOST_ELEMENTS_OF_ROW
        elif self._rows:
            self._cells += name.endswith("}c")
            self._left_of_row -= 1 + len(attributes)
        else:
            self._left -= 1 + len(attributes)
        if self._rows > _MOST_ROWS or self._cells > _MOST_CELLS or min(self._left, self._left_of_row) < 0:
            raise ValueError("more than a table has")


class _Sheet:
    """The first sheet that is shown, read once for the values and once more where formulas may lack theirs."""

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._file, self._source = file, source
        self._has_gaps = False

    def batches(self, data: DataConfig, problems: Problems) -> Iterator[Batch]:
        sheet, sheets = self._open()
        if sheets > 1:
            print(f"{self._source.name}: the first of {sheets:,} sheets is read.", flush=True)
        width = sheet.max_column or 0  # as the file says, which need not be true
        number, first = next(filter(_is_filled, _rows(sheet, 1, _MOST_COLUMNS)), (0, ()))
        names = [cell_text(cell) or "" for cell in first]
        while names and not names[-1]:
            del names[-1]
        if not names:
            problems.add(self._source.name, "the first sheet is empty", "Let the sheet with the rows be the first.")
            return
        if not data.has_header:
            begin, names = number, numbered_columns(max(len(names), width), self._source, data, problems)
        elif has_columns(names, self._source, data, problems):
            begin = number + 1
        else:
            return
        if names:
            places = [names.index(name) for name in data.columns]
            yield from self._batches(_rows(sheet, begin, max(places) + 1), places)
            if self._has_gaps:
                self._check_formulas(begin, places, problems)

    def _open(self, *, values: bool = True) -> tuple[Any, int]:
        """Return the sheet, and how many are shown."""
        from openpyxl import load_workbook

        sheets = load_workbook(self._file, read_only=True, data_only=values, keep_links=False).worksheets
        shown = [sheet for sheet in sheets if sheet.sheet_state == "visible"] or sheets
        return shown[0], len(shown)

    def _batches(self, rows: Iterator[Row], places: Sequence[int]) -> Iterator[Batch]:
        left = most_bytes(self._file.seek(0, io.SEEK_END))
        numbers: list[int] = []
        columns: list[list[str | None]] = [[] for _ in places]
        size = 0
        for number, row in rows:
            self._has_gaps = self._has_gaps or any(row[place].value is None for place in places)
            if not _is_filled((number, row)):
                continue
            found = [cell_text(row[place]) for place in places]
            # A text that stands there once may be said by a million cells.
            size += sum(len(text) for text in found if text)
            if size > left:
                raise unbounded(self._source.name)
            numbers.append(number)
            for column, text in zip(columns, found, strict=True):
                column.append(text)
            if len(numbers) == _BATCH_ROWS or size > _BATCH_CHARACTERS:
                yield _batch(numbers, columns)
                left -= size
                numbers, columns, size = [], [[] for _ in places], 0
        yield _batch(numbers, columns)

    def _check_formulas(self, begin: int, places: Sequence[int], problems: Problems) -> None:
        """Make sure that formulas have values: programs that write workbooks compute none.

        Where some of a column have one, those without came to nothing.
        """
        formulas, empty = Counter[int](), Counter[int]()
        both = (_rows(self._open(values=values)[0], begin, max(places) + 1) for values in (True, False))
        for (_, values), (_, row) in zip(*both, strict=True):
            found = [place for place in places if row[place].data_type == "f"]
            formulas.update(found)
            empty.update(place for place in found if values[place].value is None)
        for place, count in formulas.items():
            if empty[place] == count:
                problems.add(
                    self._source.name,
                    f"column {place + 1} holds formulas without values",
                    "Open it in Excel or LibreOffice and save it, which computes them.",
                )


def _rows(sheet: Any, begin: int, width: int) -> Iterator[Row]:
    """Yield rows in which there is a cell, whatever it holds, each with as many cells as are asked for."""
    from openpyxl.cell.read_only import EMPTY_CELL

    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(min_row=begin, max_col=width), start=begin):
        if number > _MOST_ROWS:
            raise ValueError("a row that no sheet has")
        if any(cell is not EMPTY_CELL for cell in row):
            yield number, row


def _is_filled(row: Row) -> bool:
    return any(cell.value is not None for cell in row[1])


def _batch(numbers: list[int], columns: list[list[str | None]]) -> Batch:
    import numpy as np
    import pyarrow as pa

    *texts, labels = (pa.array(column, pa.string()) for column in columns)
    return Batch(np.array(numbers, dtype=np.int64), texts, labels)
