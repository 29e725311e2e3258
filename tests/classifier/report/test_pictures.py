"""The pictures show the figures that they were given."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
import pytest

from include.classifier.report import pictures as figures
from include.classifier.report.tables import CalibrationBin, Difference


def texts(picture: Element) -> list[str | None]:
    return [each.text for each in picture.iter("text")]


def hovers(picture: Element) -> list[str | None]:
    return [each.text for each in picture.iter("title")]


def test_a_bar_is_as_high_as_the_share_that_is_right() -> None:
    bins = [CalibrationBin(0.4, 0.5, 10, 0.45, 0.25), CalibrationBin(0.9, 1.0, 40, 0.95, 1.0)]
    picture = figures.reliability(bins, who="candidate", description="any")
    low, low_rows, high, high_rows = picture.iter("rect")
    assert float(high.get("height", 0)) == 4 * float(low.get("height", 0))
    assert float(high_rows.get("height", 0)) == pytest.approx(4 * float(low_rows.get("height", 0)))
    assert len(hovers(picture)) == 4


def test_a_small_matrix_names_labels_and_counts() -> None:
    matrix = np.array([[8, 2], [0, 10]])
    picture = figures.confusion(matrix, ["bad", "good"], description="any")
    assert texts(picture).count("bad") == 2
    assert {"8", "2", "10"} <= set(texts(picture))
    assert "0" not in texts(picture)
    assert "true bad, predicted good: 2" in hovers(picture)


def test_a_large_matrix_numbers_its_labels_and_keeps_their_names_for_the_hover() -> None:
    labels = [f"label {index}" for index in range(50)]
    picture = figures.confusion(np.eye(50, dtype=int), labels, description="any")
    assert "label 7" not in texts(picture)
    assert {"5", "50"} <= set(texts(picture))
    assert "true label 7, predicted label 7: 1" in hovers(picture)
    assert float(picture.get("width", 0)) <= 430


def test_more_hits_and_fewer_mistakes_are_both_better() -> None:
    candidate, live = np.array([[9, 1], [4, 6]]), np.array([[7, 3], [3, 7]])
    picture = figures.confusion_difference(candidate, live, ["bad", "good"], description="any")
    kinds = {hover: box.get("class") for box in picture.iter("rect") for hover in hovers(box)}
    assert kinds == {
        "true bad, predicted bad: +2": "better bar",
        "true bad, predicted good: -2": "better bar",
        "true good, predicted bad: +1": "worse bar",
        "true good, predicted good: -1": "worse bar",
    }


@pytest.mark.parametrize(("furthest", "extent"), [(0.0, 0.001), (0.013, 0.02), (0.05, 0.05), (0.34, 0.5), (1.0, 1.0)])
def test_a_scale_is_round_and_holds_every_interval(furthest: float, extent: float) -> None:
    row = Difference("any", 0.0, -furthest, furthest / 2)
    assert figures.scale([row]) == pytest.approx(extent)


def test_an_interval_is_drawn_where_it_lies() -> None:
    zero, line = figures.interval(Difference("any", 0.05, 0.0, 0.1), 0.1).iter("line")
    assert zero.get("x1") == "50%"
    assert (line.get("x1"), line.get("x2"), line.get("class")) == ("50.00%", "96.00%", "interval unclear")


def test_differences_stand_one_below_the_other_on_one_scale() -> None:
    rows = [Difference("macro F1", 0.01, -0.01, 0.03), Difference("a label with a very long name", -0.1, -0.15, -0.05)]
    picture = figures.differences(rows, description="any")
    assert {"macro F1", "a label with a very long …", "-0.2", "+0.2", str(rows[1])} <= set(texts(picture))


@pytest.mark.parametrize("highest", [0.0, 0.0004, 0.9, 1.6, 7.0, 30.0])
def test_a_learning_curve_stays_inside_its_axes(highest: float) -> None:
    picture = figures.learning_curve([("loss", "candidate", [(1, highest), (50, 0.0)])], description="any")
    (line,) = picture.iter("polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    assert all(26 <= height <= 216 for height in heights)
    assert len(set(texts(picture))) >= 5


def test_a_run_of_one_point_can_be_drawn() -> None:
    assert texts(figures.learning_curve([("loss", "candidate", [(0, 1.0)])], description="any"))
