"""The first sheet of a workbook is a table like any other, and no workbook takes memory or time without an end."""

from __future__ import annotations

import gzip
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from include.classifier.data.formats import workbook
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import Row, read_rows, write

DATA = DataConfig(train=["unused"], labels=["1", "2"])
SHEET = "xl/worksheets/sheet1.xml"


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
#: As Excel writes them: texts stand in a table of their own.
PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
    f'<Override PartName="/xl/workbook.xml" ContentType="{TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/sharedStrings.xml" ContentType="{TYPE}.sharedStrings+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{OFFICE}">'
    '<sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
    "xl/sharedStrings.xml": f"<sst {MAIN}><si><t>text</t></si><si><t>label</t></si>"
    '<si><r><t xml:space="preserve">fine, </t></r><r><t>really</t></r></si></sst>',
    "xl/worksheets/sheet1.xml": f'<worksheet {MAIN}><dimension ref="A1"/><sheetData>'
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
    '<row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2"><v>1</v></c></row></sheetData></worksheet>',
}
TEXTS = "xl/sharedStrings.xml"


def packed(path: Path, **changes: str) -> Path:
    """Write a workbook of such parts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (PARTS | changes).items():
            archive.writestr(name, content)
    return path


def written(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    """Write a workbook as openpyxl and pandas do: texts stand in their cells, and formulas have no values."""
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def read(path: Path, **settings: Any) -> tuple[list[Row], list[str]]:
    problems = Problems()
    data = DATA.model_copy(update=settings)
    return read_rows(Source(str(path), "train"), data, problems), problems.messages()


def test_rows_carry_their_number_and_what_is_seen(tmp_path: Path) -> None:
    rows = [[], ["id", "label", "text"], ["a", 1, "fine"], [], ["b", 2.0, 4.5], ["c", True, None], [None, None, "#N/A"]]

    assert read(written(tmp_path / "a.xlsx", rows)) == (
        [Row(3, "fine", "1"), Row(5, "4.5", "2"), Row(6, None, "TRUE"), Row(7, None, None)],
        [],
    )


def test_sheets_without_a_header_are_read_by_column_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.xlsx", [[1, "fine"], [2, "bad", "more"]])

    assert read(path, text_column=2, label_column=1)[0] == [Row(1, "fine", "1"), Row(2, "bad", "2")]
    assert read(path, text_column=3, label_column=1)[0] == [Row(1, None, "1"), Row(2, "more", "2")]
    assert "has 3 columns, and the settings ask for number 4" in read(path, text_column=4, label_column=1)[1][0]


def test_the_first_sheet_that_is_shown_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = Workbook()
    book.active.append(["hidden", "notes"])
    book.active.sheet_state = "hidden"
    for rows in ([["text", "label"], ["fine", 1]], [["another", "sheet"]]):
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")

    assert read(tmp_path / "a.xlsx") == ([Row(2, "fine", "1")], [])
    assert capsys.readouterr().out == f"{tmp_path}/a.xlsx: the first of 2 sheets is read.\n"


def test_formulas_are_read_by_their_values_and_refused_without(tmp_path: Path) -> None:
    rows = [["text", "label"], ['=A5&"fine"', 1], ['=IF(A5="","","x")', 2]]
    path = written(tmp_path / "a.xlsx", rows)

    _, (problem,) = read(path)
    assert problem.startswith(f"{path}: column 1 holds formulas without values. Open it in Excel")

    computed = '<row r="3"><c r="A3" t="str"><f>B9&amp;"fine"</f><v>fine</v></c><c r="B3"><v>2</v></c></row>'
    empty = '<row r="4"><c r="A4" t="str"><f>IF(B9="","","x")</f><v></v></c><c r="B4"><v>2</v></c></row>'
    sheet = PARTS[SHEET].replace("</sheetData>", f"{computed}{empty}</sheetData>")
    assert read(packed(path, **{SHEET: sheet})) == (
        [Row(2, "fine, really", "1"), Row(3, "fine", "2"), Row(4, None, "2")],
        [],
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xlsx", b"text,label\nfine,1\n"),
        ("a.xlsx", b"PK\x03\x04rest"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0 has a password"),
        ("a.xlsx.gz", gzip.compress(b"anything", mtime=0)),
    ],
)
def test_what_is_no_workbook_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    rows, (problem,) = read(write(tmp_path / name, content))

    assert rows == []
    assert problem.startswith(f"{tmp_path}/{name}: is not a workbook that can be read. Save it anew as .xlsx")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (SHEET, '<row r="2"', '<row r="99999999999"'),
        (SHEET, '<c r="A2"', '<c r="AAAAAAAA2"'),
        (SHEET, "<v>2</v>", "<v>99</v>"),
        (SHEET, "<worksheet", '<!DOCTYPE worksheet [<!ENTITY a "a">]><worksheet'),
        (TEXTS, "<sst", '<!-- --> <!DOCTYPE sst [<!ENTITY a "a">]><sst'),
        (TEXTS, "<sst", "<sst><"),
        (TEXTS, "</sst>", "<si/>" * 1000 + "</sst>"),
        (SHEET, "</sheetData>", "<row/>" * 1000 + "</sheetData>"),
        (SHEET, "</row>", "<c/>" * 1000 + "</row>"),
        (SHEET, "</row>", "<other a='b'/>" * 500 + "</row>"),
        ("xl/workbook.xml", "sheets", "nothing"),
    ],
)
def test_a_workbook_that_does_harm_or_is_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> None:
    for limit in ("ROWS", "CELLS", "ELEMENTS", "ELEMENTS_OF_ROW"):
        monkeypatch.setattr(workbook, f"_MOST_{limit}", 900)
    path = packed(tmp_path / "a.xlsx", **{name: PARTS[name].replace(old, new)})

    assert new in PARTS[name].replace(old, new)
    assert read(path)[1][0].startswith(f"{path}: is not a workbook that can be read.")


def test_what_unpacks_or_repeats_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>2</v></c></row>' for n in range(3, 200))
    sheet = PARTS[SHEET].replace("</sheetData>", f"{repeated}</sheetData>")
    texts = PARTS[TEXTS].replace("really", "really " * 1000)
    path = packed(tmp_path / "a.xlsx", **{SHEET: sheet, TEXTS: texts})
    assert len(read(path)[0]) == 198
    monkeypatch.setattr("include.classifier.data.bounds._FREE_BYTES", 1 << 16)
    with pytest.raises(DataError, match=r"a\.xlsx: unpacks to more than 50 times its size"):
        read(path)
    monkeypatch.setattr(workbook, "_FREE_BYTES", 1 << 10)
    monkeypatch.setattr(workbook, "_LARGEST_RATIO", 2)
    with pytest.raises(DataError, match=r"a\.xlsx: unpacks to more than 2 times its size"):
        read(path)
    monkeypatch.setattr(workbook, "_MOST_BYTES", 1 << 10)
    with pytest.raises(DataError, match=r"a\.xlsx: unpacks to more than 0 MB"):
        read(path)


def test_without_its_package_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.xlsx", [["text", "label"], ["fine", 1]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    assert read(path) == (
        [],
        [
            f"{path}: is a workbook, and the package openpyxl, which reads it, is not there. Install it where "
            "preprocessing runs (pip install openpyxl), or save the sheet as CSV."
        ],
    )
