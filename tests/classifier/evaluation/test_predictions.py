"""From the file with the predictions anybody can compute the figures of candidate.json again, and it holds no text."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet
import pytest

from include.classifier import metrics
from include.classifier.evaluation.predictions import write_predictions

LABELS = ["bad", "très bon"]


def test_the_figures_can_be_computed_again(tmp_path):
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 50)
    probabilities = {who: random.dirichlet([1, 1], 50) for who in ("candidate", "baseline")}
    uri = write_predictions(truth, probabilities, labels=LABELS, output_uri=tmp_path.as_uri())
    assert uri == (tmp_path / "evaluation" / "predictions.parquet").as_uri()
    table = pyarrow.parquet.read_table(tmp_path / "evaluation" / "predictions.parquet").to_pydict()
    assert list(table) == [
        "row",
        "label",
        *(f"{who}{part}" for who in probabilities for part in ("", "_probabilities")),
    ]
    assert table["row"] == list(range(50))
    assert [LABELS.index(label) for label in table["label"]] == truth.tolist()
    for who, values in probabilities.items():
        read = np.array(table[f"{who}_probabilities"])
        assert (read == values).all()
        assert [LABELS.index(label) for label in table[who]] == values.argmax(axis=1).tolist()
        assert metrics.log_loss(truth, read) == pytest.approx(metrics.log_loss(truth, values))


def test_a_repeated_step_replaces_the_file(tmp_path):
    for rows in (3, 2):
        write_predictions(
            np.zeros(rows, dtype=np.int64),
            {"candidate": np.eye(2)[[0] * rows]},
            labels=LABELS,
            output_uri=str(tmp_path),
        )
    assert pyarrow.parquet.read_table(tmp_path / "evaluation" / "predictions.parquet").num_rows == 2
