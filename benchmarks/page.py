"""Fills the results into docs/performance.md, so that its figures cannot drift from the files that they come from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

TARGET = Path(__file__).parent.parent / "docs" / "performance.md"
_BLOCK = re.compile(r"(<!-- results: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ALL_TARGETS = re.compile(r"(<!-- targets -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, folder: Path = RESULTS) -> str:
    """Return the page with the results between its marks, and all targets of the benchmarks that it shows.

    A benchmark that has no results says so.
    """
    names = [name for _, name, _ in _BLOCK.findall(page)]
    documents = {name: _read(folder / f"{name}.json") for name in names if (folder / f"{name}.json").exists()}

    def fill(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        shown = block(documents[name]) if name in documents else "There are no results yet."
        return f"{begin}\n{shown}\n\n{end}"

    def fill_targets(found: re.Match[str]) -> str:
        return f"{found[1]}\n{all_targets(list(documents.values()))}\n\n{found[2]}"

    return _ALL_TARGETS.sub(fill_targets, _BLOCK.sub(fill, page))


def all_targets(documents: Sequence[dict[str, Any]]) -> str:
    """Return one table with every figure that was wanted, each with a link to the section that has its title."""
    rows = [
        (f"[{document['title']}](#{document['title'].lower().replace(' ', '-')})", *_target(target))
        for document in documents
        for target in document["targets"]
        if target["target"] != "none"
    ]
    return _table(("", "target", "measured", "wanted", "reached"), rows)


def block(document: dict[str, Any]) -> str:
    """Return picture, targets, figures and circumstances of one benchmark as Markdown."""
    sides = list(document["sides"])
    targets = [_target(target) for target in document["targets"]]
    return "\n\n".join(
        (
            f"![{document['title']}](../benchmarks/results/{document['name']}.svg)",
            _table(("target", "measured", "wanted", "reached"), targets),
            _TABLES.get(len(sides), _by_side)(document, sides),
            "\n".join(f"- {side}: {what}" for side, what in document["sides"].items()),
            f"{document['pairs']} {'pair' if document['pairs'] == 1 else 'pairs'} on {document['machine']}, with a "
            f"load average of {document['load_average']:g} over the last quarter of an hour. "
            f"{' '.join(document['notes'])}",
        )
    )


def _alone(document: dict[str, Any], sides: list[str]) -> str:
    """One side: one table, with a row for each measure."""
    (side,) = sides
    rows = [
        (_name(measure), *(_spread(point["sides"][side]) for point in measure["points"]), _exponent(measure, side))
        for measure in document["measures"]
    ]
    return _table(("", *(f"{size:,} {document['size_unit']}" for size in document["sizes"]), "growth"), rows)


def _by_size(document: dict[str, Any], sides: list[str]) -> str:
    """Two sides: one table, with a row for each measure and size."""
    rows = []
    for measure in document["measures"]:
        for point in measure["points"]:
            figures = [_spread(point["sides"][side]) for side in sides]
            rows.append((_name(measure), str(point["size"]), *figures, _ratio(point, sides[1])))
        rows.append((_name(measure), "growth", *(_exponent(measure, side) for side in sides), ""))
    return _table(("", document["size_unit"], *sides, f"{sides[1]} / {sides[0]}"), rows)


def _by_side(document: dict[str, Any], sides: list[str]) -> str:
    """More sides: a table for each measure, with a row for each of them."""
    sizes = [f"{size} {document['size_unit']}" for size in document["sizes"]]
    tables = []
    for measure in document["measures"]:
        head = (_name(measure), *sizes, "growth", *(f"/ {sides[0]}, {size}" for size in sizes))
        rows = [
            (
                side,
                *(_spread(point["sides"][side]) for point in measure["points"]),
                _exponent(measure, side),
                *(_ratio(point, side) for point in measure["points"]),
            )
            for side in sides
        ]
        tables.append(_table(head, rows))
    return "\n\n".join(tables)


#: Number of sides -> how their figures are shown; more of them, by side.
_TABLES = {1: _alone, 2: _by_size}


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _target(target: dict[str, Any]) -> tuple[str, str, str, str]:
    if target["target"] == "none":  # stated, and nobody asked for more or less
        return target["what"], _number(target["value"]), "", ""
    return target["what"], _number(target["value"]), target["target"], "yes" if target["reached"] else "**no**"


def _name(measure: dict[str, Any]) -> str:
    return f"{measure['what']} ({measure['unit']})" if measure["unit"] else measure["what"]


def _exponent(measure: dict[str, Any], side: str) -> str:
    return "" if measure["exponent"][side] is None else f"{measure['exponent'][side]:g}"


def _ratio(point: dict[str, Any], side: str) -> str:
    return _spread(point["ratios"][side]) if side in point["ratios"] else ""


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(spread: dict[str, float]) -> str:
    middle, low, high = (_number(spread[name]) for name in ("median", "low", "high"))
    return middle if low == high else f"{middle} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Write the page; with ``--check`` only say whether it is stale."""
    page = TARGET.read_text(encoding="utf-8")
    text = filled(page)
    if "--check" in sys.argv[1:]:
        if text != page:
            sys.exit("docs/performance.md is stale: run `python -m benchmarks.page`.")
        return
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
