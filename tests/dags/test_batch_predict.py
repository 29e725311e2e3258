"""The DAG that scores tables, as Airflow loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

DAGS = Path(__file__).parents[2] / "dags"
MODEL = {"name": "two-words", "data": {"train": "train.csv", "labels": ["bad", "good"], "text_column": "review"}}


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "one.yaml").write_text(
        yaml.safe_dump(MODEL | {"predictions": {"allowed_outputs": ["s3://bucket/scores"], "workers": 4}})
    )
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL_STORE", "s3://models")
    monkeypatch.setenv("ALLOWED_SOURCES", "/data")
    monkeypatch.setenv("ALLOWED_OUTPUTS", "/scores")
    bag = DagBag(str(DAGS / "batch_predict.py"), safe_mode=False)
    assert bag.import_errors == {}
    return bag.dags["batch_predict_two_words"]


def test_the_form_takes_what_can_be_scored(dag: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    assert dag.params["text_columns"] == ["review"]
    assert (dag.params["version"], dag.params["workers"]) == ("live", 4)
    for field, value in (("data", ""), ("version", "newest"), ("workers", 0), ("text_columns", [])):
        with pytest.raises(ParamValidationError):
            dag.params.get_param(field).resolve(value=value)


def test_it_may_read_and_write_what_the_model_and_the_installation_name(dag: Any) -> None:
    macros = dag.user_defined_macros

    assert {"train.csv", "s3://models/two-words", "/data"} <= set(json.loads(macros["allowed_sources"]()))
    outputs = ["s3://models/two-words/predictions", "s3://bucket/scores", "/scores"]
    assert json.loads(macros["allowed_outputs"]()) == outputs
