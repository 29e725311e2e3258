"""The DAG that puts a release back, as Airflow loads it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

DAGS = Path(__file__).parents[2] / "dags"
CHAIN = ["check", "deploy_candidate", "smoke_test", "promote", "verify", "record"]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``load(**documents)``, which loads the DAG for models with these YAML files."""

    def load(**documents: Any) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        for name, document in documents.items():
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setenv("MODELS_DIR", str(tmp_path))
        bag = DagBag(str(DAGS / "roll_back.py"), safe_mode=False)
        assert bag.import_errors == {}
        return bag.dags["roll_back"]

    return load


def model(name: str) -> dict[str, Any]:
    return {"name": name, "data": {"train": "train.csv", "labels": ["bad", "good"]}}


def test_a_release_is_proven_before_and_after_it_gets_the_traffic(load: Any) -> None:
    dag = load(one=model("one"))
    for upstream, downstream in pairwise(CHAIN):
        assert downstream in dag.get_task(upstream).downstream_task_ids
    assert dag.get_task("undo").upstream_task_ids == set(CHAIN[1:])
    assert [task.task_id for task in dag.leaves] == ["report"]
    assert dag.schedule is None


def test_the_form_offers_the_models_and_takes_a_version_or_previous(load: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = load(one=model("one"), two=model("two")).params
    assert params["version"] == "previous"
    assert params.get_param("model").resolve(value="two") == "two"
    assert params.get_param("version").resolve(value="20260102000000") == "20260102000000"
    for field, value in (("model", "three"), ("version", "yesterday")):
        with pytest.raises(ParamValidationError):
            params.get_param(field).resolve(value=value)


def test_a_wrong_yaml_does_not_keep_other_models_from_being_rolled_back(load: Any) -> None:
    params = load(one=model("one"), broken={"name": "two"}).params
    assert params.get_param("model").schema["enum"] == ["one"]
