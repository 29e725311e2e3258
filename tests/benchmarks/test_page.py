"""The page shows the results that are kept, and no others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import RESULTS
from benchmarks.page import TARGET, block, filled

DOCUMENT: dict[str, Any] = {
    "name": "example",
    "title": "An example",
    "machine": "2 cores",
    "load_average": 1.5,
    "sides": {"ours": "quick", "theirs": "slow"},
    "sizes": [10],
    "size_unit": "rows",
    "pairs": 3,
    "notes": ["On a Sunday."],
    "measures": [
        {
            "what": "time",
            "unit": "s",
            "points": [
                {
                    "size": 10,
                    "sides": {
                        "ours": {"median": 0.25, "low": 0.2, "high": 0.31},
                        "theirs": {"median": 1234.5, "low": 1234.5, "high": 1234.5},
                    },
                    "ratios": {},
                }
            ],
            "exponent": {"ours": 0.5, "theirs": None},
        }
    ],
    "targets": [{"what": "times faster", "value": 4938, "target": "≥ 5000", "reached": False}],
}


def test_a_block_holds_targets_figures_and_circumstances() -> None:
    text = block(DOCUMENT)

    assert "![An example](../benchmarks/results/example.svg)" in text
    assert "| times faster | 4,938 | ≥ 5000 | **no** |" in text
    assert "| time (s) | 10 | 0.25 (0.2 to 0.31) | 1,234 |  |" in text
    assert "| time (s) | growth | 0.5 |  |  |" in text
    assert text.endswith(
        "3 pairs on 2 cores, with a load average of 1.5 over the last quarter of an hour. On a Sunday."
    )


def test_many_sides_get_a_table_for_each_measure() -> None:
    spread = {"median": 0.5, "low": 0.4, "high": 0.6}
    figures = {"ours": spread, "theirs": spread, "another's": spread}
    points = [{"size": size, "sides": figures, "ratios": {"theirs": spread}} for size in (1, 8)]
    measure = {"what": "time", "unit": "s", "points": points, "exponent": dict.fromkeys(figures)}
    text = block(DOCUMENT | {"sides": dict.fromkeys(figures, "it"), "sizes": [1, 8], "measures": [measure]})

    shown = "0.5 (0.4 to 0.6)"
    assert "| time (s) | 1 rows | 8 rows | growth | / ours, 1 rows | / ours, 8 rows |" in text
    assert f"| ours | {shown} | {shown} |  |  |  |" in text
    assert f"| theirs | {shown} | {shown} |  | {shown} | {shown} |" in text
    assert f"| another's | {shown} | {shown} |  |  |  |" in text


def one_side() -> dict[str, Any]:
    """Return a document of one side, with two measures in one unit and one in another."""
    spreads = ({"median": 0.5, "low": 0.4, "high": 0.6}, {"median": 5.0, "low": 5.0, "high": 5.0})
    points = [
        {"size": size, "sides": {"ours": spread}, "ratios": {}} for size, spread in zip((1, 8), spreads, strict=True)
    ]
    measures = [
        {"what": what, "unit": unit, "points": points, "exponent": {"ours": 1.1}}
        for what, unit in (("time", "s"), ("start", "s"), ("memory", "MiB"))
    ]
    return DOCUMENT | {"sides": {"ours": "it"}, "sizes": [1, 8], "measures": measures}


def test_one_side_gets_one_table_of_all_measures() -> None:
    text = block(one_side())

    assert "|  | 1 rows | 8 rows | growth |\n" in text
    for what in ("time (s)", "start (s)", "memory (MiB)"):
        assert f"| {what} | 0.5 (0.4 to 0.6) | 5 | 1.1 |" in text


def test_results_are_filled_in_between_their_marks(tmp_path: Path) -> None:
    (tmp_path / "example.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    page = "# Fast\n\n<!-- results: example -->\nold\n<!-- end -->\n\nAnd so on.\n"
    text = filled(page, tmp_path)

    assert "old" not in text
    assert "times faster" in text
    assert text.startswith("# Fast\n") and text.endswith("And so on.\n")
    assert filled(text, tmp_path) == text


def test_one_table_has_the_targets_of_all_benchmarks_that_the_page_shows(tmp_path: Path) -> None:
    stated = {"what": "memory", "value": 3, "target": "none", "reached": True}
    other = DOCUMENT | {"title": "Another", "targets": [DOCUMENT["targets"][0] | {"reached": True}, stated]}
    for name, document in {"example": DOCUMENT, "other": other, "hidden": DOCUMENT}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    shown = "".join(f"<!-- results: {name} -->\n<!-- end -->\n" for name in ("other", "example"))
    text = filled(f"<!-- targets -->\n<!-- end -->\n{shown}", tmp_path)
    table = text.partition("<!-- end -->")[0]

    assert table.splitlines()[-3:-1] == [
        "| [Another](#another) | times faster | 4,938 | ≥ 5000 | yes |",
        "| [An example](#an-example) | times faster | 4,938 | ≥ 5000 | **no** |",
    ]
    assert "| memory | 3 |  |  |" in text, "what is only stated stands with its benchmark"
    assert filled(text, tmp_path) == text


def test_what_was_never_measured_is_said_to_have_no_results(tmp_path: Path) -> None:
    page = "<!-- targets -->\n<!-- end -->\n<!-- results: example -->\nfast\n<!-- end -->"

    text = filled(page, tmp_path)

    assert "<!-- results: example -->\n\nThere are no results yet.\n\n<!-- end -->" in text
    assert "fast" not in text


def test_the_page_is_up_to_date() -> None:
    page = TARGET.read_text(encoding="utf-8")

    assert filled(page) == page
    titles = [json.loads(file.read_text(encoding="utf-8"))["title"] for file in RESULTS.glob("*.json")]
    headings = {line.lstrip("#").strip() for line in page.splitlines() if line.startswith("#")}
    assert set(titles) <= headings, "the table of all targets links to them"


@pytest.mark.pipelines
def test_a_picture_has_a_panel_for_each_measure(pipelines_python: str, tmp_path: Path) -> None:
    pictures = [
        draw(pipelines_python, DOCUMENT, tmp_path / name).read_text(encoding="utf-8") for name in ("one.svg", "two.svg")
    ]

    assert pictures[0].startswith("<?xml") and 'id="axes_1"' in pictures[0] and 'id="axes_2"' not in pictures[0]
    assert pictures[0] == pictures[1]


@pytest.mark.pipelines
def test_a_picture_of_many_sides_shows_them_all(pipelines_python: str, tmp_path: Path) -> None:
    measure = DOCUMENT["measures"][0]
    figures = {side: {"median": 2.0, "low": 1.0, "high": 3.0} for side in "abcdefg"}
    many = DOCUMENT | {
        "sides": dict.fromkeys(figures, "it"),
        "measures": [measure | {"points": [{"size": 10, "sides": figures, "ratios": {}}]}],
    }
    picture = draw(pipelines_python, many, tmp_path / "many.svg").read_text(encoding="utf-8")

    in_the_panel_and_the_legend = 2
    assert picture.count('id="LineCollection_') == in_the_panel_and_the_legend * len(figures)


@pytest.mark.pipelines
def test_a_picture_of_one_side_has_a_panel_for_each_unit(pipelines_python: str, tmp_path: Path) -> None:
    picture = draw(pipelines_python, one_side(), tmp_path / "one.svg").read_text(encoding="utf-8")

    assert 'id="axes_2"' in picture and 'id="axes_3"' not in picture
    for label in ("time", "start", "memory", "1 rows", "8 rows"):
        assert f"<!-- {label} -->" in picture


def draw(python: str, document: dict[str, Any], target: Path) -> Path:
    """Draw with the pipeline half's Python, which has matplotlib."""
    code = (
        "import json, sys; from benchmarks.picture import draw;"
        "draw(json.load(sys.stdin)).savefig(sys.argv[1], metadata={'Date': None})"
    )
    command = [python, "-c", code, str(target)]
    subprocess.run(command, input=json.dumps(document), text=True, check=True, cwd=TARGET.parent.parent)
    return target
