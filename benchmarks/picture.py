"""Draws the picture of a benchmark from the file of its results."""

from __future__ import annotations

import json
import sys
from itertools import cycle
from typing import Any

from benchmarks.harness import RESULTS

_COLUMNS = 3
#: Told apart by people who see no colours, too.
_STYLES = (
    {"color": "#0b6e4f", "marker": "o"},
    {"color": "#c1440e", "marker": "s", "linestyle": "--"},
    {"color": "#3b5ba5", "marker": "^", "linestyle": "-."},
    {"color": "#8a6d00", "marker": "D", "linestyle": ":"},
    {"color": "#555555", "marker": "x", "linestyle": "--"},
)


def draw(document: dict[str, Any]) -> Any:
    """Return a figure with one panel for each measure: figures of all sides over the sizes, with their spread.

    Where there is only one side, measures are compared with each other: each unit has a panel, each size a bar.
    """
    import matplotlib as mpl

    mpl.use("svg")
    # The same results give the same file.
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "font.size": 9, "axes.spines.top": False})
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    if len(document["sides"]) == 1:
        return _draw_bars(document)
    measures = document["measures"]
    rows = -(-len(measures) // _COLUMNS)
    columns = min(_COLUMNS, len(measures))
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.6 * columns, 2.7 * rows), squeeze=False)
    for panel in axes.flat[len(measures) :]:
        panel.axis("off")
    for panel, measure in zip(axes.flat, measures, strict=False):
        for side, style in zip(document["sides"], cycle(_STYLES), strict=False):
            spreads = [point["sides"][side] for point in measure["points"]]
            middle = [spread["median"] for spread in spreads]
            below = [spread["median"] - spread["low"] for spread in spreads]
            above = [spread["high"] - spread["median"] for spread in spreads]
            panel.errorbar(document["sizes"], middle, yerr=(below, above), label=side, capsize=3, **style)
        panel.set_xscale("log")
        panel.set_xticks(document["sizes"])
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        if all(point["sides"][side]["low"] > 0 for point in measure["points"] for side in document["sides"]):
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.set_xlabel(document["size_unit"])
        panel.set_ylabel(measure["unit"])
        panel.set_title(measure["what"], fontsize=9)
    sides = list(document["sides"])
    if len(sides) == 2:
        axes.flat[0].legend(frameon=False)
        figure.suptitle(f"{document['title']}: {sides[0]} and {sides[1]}")
        figure.tight_layout()
    else:
        figure.suptitle(document["title"])
        figure.set_layout_engine("constrained")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4)
    return figure


def _draw_bars(document: dict[str, Any]) -> Any:
    from matplotlib import pyplot

    (side,) = document["sides"]
    sizes = document["sizes"]
    units = list(dict.fromkeys(measure["unit"] for measure in document["measures"]))
    panels = [[measure for measure in document["measures"] if measure["unit"] == unit] for unit in units]
    lengths = [len(measures) for measures in panels]
    figure, axes = pyplot.subplots(
        len(units), 1, figsize=(8, 0.8 * len(units) + 0.13 * (len(sizes) + 1) * sum(lengths)), squeeze=False,
        height_ratios=[max(2, length) for length in lengths],
    )  # fmt: skip
    height = 0.8 / len(sizes)
    for panel, unit, measures in zip(axes.flat, units, panels, strict=True):
        for place, (size, style) in enumerate(zip(sizes, cycle(_STYLES), strict=False)):
            middle = [measure["points"][place]["sides"][side]["median"] for measure in measures]
            at = [row + (place - (len(sizes) - 1) / 2) * height for row in range(len(measures))]
            panel.barh(at, middle, height, label=f"{size:,} {document['size_unit']}", color=style["color"])
        panel.set_yticks(range(len(measures)), [measure["what"] for measure in measures])
        panel.invert_yaxis()
        panel.set_xlabel(unit)
    figure.suptitle(document["title"])
    figure.set_layout_engine("constrained")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=4)
    return figure


def main() -> None:
    """Draw the benchmark that the first argument names."""
    name = sys.argv[1]
    document = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    draw(document).savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    print(RESULTS / f"{name}.svg")


if __name__ == "__main__":
    main()
