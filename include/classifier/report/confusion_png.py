"""Pictures for people."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_matrix_png(matrix: NDArray[np.int64], labels: Sequence[str], *, title: str) -> bytes:
    """Draw which labels are taken for which; a cell's shade is its share of the true label's rows.

    :param matrix: rows by true (row) and predicted (column) label, shape ``(n_labels, n_labels)``.
    :return: a PNG.
    """
    # Figure and not pyplot: pyplot looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = 2.5 + 0.7 * len(labels)
    figure = Figure(figsize=(size, size), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    # A dollar sign would start a formula.
    names = [label.replace("$", r"\$") for label in labels]
    axes.set_xticks(ticks, names, rotation=45, ha="right")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    for row, column in np.ndindex(matrix.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour)
    buffer = io.BytesIO()
    # Without the version in its metadata the same matrix gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
