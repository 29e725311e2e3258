"""Figures that a release computes itself from predictions, and how sure the difference of two models is.

Both models answered the same rows, because both found the same rows hard or easy; so rows are compared in pairs. The
interval is the normal one for the figure's linearisation: how much each row moves the difference (the delta method;
Takahashi, Yamamoto, Kuchiba and Koyama, "Confidence interval for micro-averaged F1 and macro-averaged F1 scores",
Applied Intelligence 52, 2022, has it for F1). For accuracy that is the Wald interval of matched proportions. As the
bootstrap of the text classifiers, it counts one row more for each side that only this side labels rightly (Agresti and
Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24, 2005): two
models that differ nowhere in few rows are not known to differ nowhere. For errors of numbers it is Student's interval
of the mean difference. No more than Python's own library is needed, so that Airflow can compute it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple, get_args

from include.contracts.rules.predictions import Predicted, Predictions

FigureName = Literal["accuracy", "macro_f1", "mean_absolute_error", "mean_squared_error"]
FIGURES: tuple[FigureName, ...] = get_args(FigureName)

#: The others are of classes, of which more is better.
ERRORS: frozenset[str] = frozenset({"mean_absolute_error", "mean_squared_error"})

#: Fewer rows show nothing, and the approximations do not hold.
FEWEST_ROWS = 10

#: What nobody predicts: where there is but one class, whoever is wrong has said this.
_NO_CLASS = "\0"

_Cells = Counter[tuple[str, str, str]]


class FigureError(ValueError):
    """Predictions are none of which the figure could be computed."""


class Interval(NamedTuple):
    """What two models reach on the same rows, and the difference, first minus second, with its bounds."""

    first: float
    second: float
    difference: float
    low: float
    high: float


def measure(figure: FigureName, predictions: Predictions) -> float:
    """Return a figure of one model.

    :raises FigureError: when it is one of numbers, and a label or a prediction is no finite number.
    """
    rows = predictions.values()
    if figure in ERRORS:
        error = _error(figure)
        return math.fsum(error(row) for row in rows) / len(rows)
    cells = Counter((row.label, row.prediction, row.prediction) for row in rows)
    return _Side(cells, 1).figure(figure)


def compare(
    figure: FigureName, first: Predictions, second: Predictions, *, confidence: float, added_rows: float = 1.0
) -> Interval:
    """Compare two models that have predicted the same rows, at least :data:`FEWEST_ROWS` of them.

    :param confidence: of the two-sided interval, between 0 and 1.
    :param added_rows: for each side, in figures of classes; 0 for a model and its like, which differ nowhere.
    :raises FigureError: as :func:`measure`.
    """
    if figure in ERRORS:
        return _compared_errors(figure, first, second, confidence)
    cells: _Cells = Counter((row.label, row.prediction, second[name].prediction) for name, row in first.items())
    values = [_Side(cells, place).figure(figure) for place in (1, 2)]
    difference = values[0] - values[1]
    centre, deviation = _linearised(figure, _with_rows_added(cells, added_rows), rows=len(first))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    # The added rows pull the middle towards 0; an interval holds what was measured all the same.
    low, high = min(centre - reach, difference), max(centre + reach, difference)
    return Interval(values[0], values[1], difference, max(low, -1.0), min(high, 1.0))


class _Side:
    """One of both models: how many rows of a class there are, how many it says there are, and how many of both.

    :param cells: label, first and second prediction -> rows.
    :param place: of its predictions among these.
    """

    def __init__(self, cells: Mapping[tuple[str, str, str], float], place: int) -> None:
        self._place = place
        self._rows = math.fsum(cells.values())
        self._total: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        for cell, rows in cells.items():
            self._total[cell[0]] += rows  # type: ignore[assignment]
            self._total[cell[place]] += rows  # type: ignore[assignment]
            if cell[0] == cell[place]:
                self._hits[cell[0]] += rows  # type: ignore[assignment]
        self._accuracy = math.fsum(self._hits.values()) / self._rows

    def figure(self, name: str) -> float:
        if name == "accuracy":
            return self._accuracy
        return math.fsum(map(self._f1, self._total)) / len(self._total)

    def moved_by(self, name: str, cell: tuple[str, str, str]) -> float:
        """Return the derivative of the figure by the number of rows in a cell."""
        label, prediction = cell[0], cell[self._place]
        if name == "accuracy":
            return (float(label == prediction) - self._accuracy) / self._rows
        if label == prediction:
            moved = (2 - 2 * self._f1(label)) / self._total[label]
        else:
            moved = -math.fsum(self._f1(each) / self._total[each] for each in (label, prediction))
        return moved / len(self._total)

    def _f1(self, label: str) -> float:
        return 2 * self._hits[label] / self._total[label]


def _linearised(figure: str, cells: Mapping[tuple[str, str, str], float], *, rows: int) -> tuple[float, float]:
    """Return the difference in the cells, and its standard deviation when so many rows are drawn of them."""
    first, second = _Side(cells, 1), _Side(cells, 2)
    moved = ((first.moved_by(figure, cell) - second.moved_by(figure, cell), count) for cell, count in cells.items())
    variance = math.fsum(cells.values()) / rows * math.fsum(count * each * each for each, count in moved)
    return first.figure(figure) - second.figure(figure), math.sqrt(variance)


def _with_rows_added(cells: _Cells, rows: float) -> dict[tuple[str, str, str], float]:
    """Return them with so many rows more that only the first side labels rightly, and as many of the second's.

    Each class gets its share; who is wrong takes it for the commonest other class.
    """
    support: Counter[str] = Counter()
    for (label, _, _), count in cells.items():
        support[label] += count
    ranked = sorted(support, key=lambda label: (-support[label], label))
    commonest, runner_up = [*ranked, _NO_CLASS][:2]
    weighed: dict[tuple[str, str, str], float] = dict(cells)
    for label, count in support.items() if rows else ():
        wrong = runner_up if label == commonest else commonest
        for cell in ((label, label, wrong), (label, wrong, label)):
            weighed[cell] = weighed.get(cell, 0.0) + rows * count / cells.total()
    return weighed


def _compared_errors(figure: str, first: Predictions, second: Predictions, confidence: float) -> Interval:
    error = _error(figure)
    pairs = [(error(row), error(second[name])) for name, row in first.items()]
    count = len(pairs)
    means = [math.fsum(side) / count for side in zip(*pairs, strict=True)]
    difference = math.fsum(ours - theirs for ours, theirs in pairs) / count
    squares = math.fsum((ours - theirs - difference) ** 2 for ours, theirs in pairs)
    reach = student_quantile((1 + confidence) / 2, count - 1) * math.sqrt(squares / (count - 1) / count)
    return Interval(means[0], means[1], difference, difference - reach, difference + reach)


def _error(figure: str) -> Callable[[Predicted], float]:
    power = 1 if figure == "mean_absolute_error" else 2

    def of(row: Predicted) -> float:
        found = abs(_number(row.prediction) - _number(row.label))
        # Written so that it does not overflow: nobody's prediction is worth more.
        return min(found, 1e150) ** power

    return of


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise FigureError("a label or a prediction is no finite number")
    return found


def student_quantile(probability: float, degrees: int) -> float:
    """Return a quantile of Student's distribution, to four digits from nine degrees of freedom on.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.
    """
    normal = NormalDist().inv_cdf(probability)
    return math.fsum(term / degrees**power for power, term in enumerate(_student_terms(normal)))


def _student_terms(x: float) -> Iterator[float]:
    polynomials: Sequence[tuple[Sequence[float], float]] = (
        ((0, 1), 1),
        ((0, 1, 0, 1), 4),
        ((0, 3, 0, 16, 0, 5), 96),
        ((0, -15, 0, 17, 0, 19, 0, 3), 384),
        ((0, -945, 0, -1920, 0, 1482, 0, 776, 0, 79), 92160),
    )
    for factors, divisor in polynomials:
        yield math.fsum(factor * x**power for power, factor in enumerate(factors)) / divisor
