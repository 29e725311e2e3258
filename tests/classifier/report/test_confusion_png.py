"""The confusion matrix as a picture."""

from __future__ import annotations

import numpy as np

from include.classifier.report.confusion_png import confusion_matrix_png

MATRIX = np.array([[3, 1], [0, 0]])


def test_it_is_a_png_and_the_same_matrix_gives_the_same_bytes():
    pictures = [confusion_matrix_png(MATRIX, ["cheap ($)", "dear ($$)"], title="reviews") for _ in range(2)]
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] == pictures[1]
    assert confusion_matrix_png(MATRIX.T, ["cheap ($)", "dear ($$)"], title="reviews") != pictures[0]
