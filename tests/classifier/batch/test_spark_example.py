"""The example for Spark, without Spark: what it calls in a task takes and gives tables of Arrow."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest

from include.classifier.batch.model import Scorer
from include.classifier.packaging.archive import ArchiveError, build_archive
from include.classifier.serving.predictor import Predictor

EXAMPLE = Path(__file__).parents[3] / "examples" / "spark" / "score.py"


@pytest.mark.computes
def test_it_answers_as_a_batch_prediction_does(tiny_model: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("score", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    archive = build_archive(tiny_model, model="reviews", version="20260101000000", target=tmp_path / "reviews.mar")
    texts = ["good food", None, "very bad place", " ", "never again"]
    batch = pa.RecordBatch.from_pydict({"id": [1, 2, 3, 4, 5], "text": texts})

    (found,) = example.scorer(archive.path.as_uri(), archive.sha256)(iter([batch]))

    scorer = Scorer(Predictor.load(tiny_model, device="cpu"))
    scores = scorer.score(scorer.read([text for text in texts if text and text.strip()]))
    labels = [scorer.labels[each] for each in scores.classes]
    assert found.schema.names == ["id", "text", "predicted_label", "predicted_probability"]
    assert found.column("predicted_label").to_pylist() == [labels[0], None, labels[1], None, labels[2]]
    assert [value for value in found.column("predicted_probability").to_pylist() if value] == pytest.approx(
        scores.probabilities
    )
    with pytest.raises(ArchiveError, match="changed after packaging"):
        next(example.scorer(archive.path.as_uri(), "0" * 64)(iter([batch])))
