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
    """Return ``load(**documents)``, which loads the DAGs for models with these YAML files."""

    def load(**documents: Any) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        for name, document in documents.items():
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setenv("MODELS_DIR", str(tmp_path))
        bag = DagBag(str(DAGS / "roll_back.py"), safe_mode=False)
        assert bag.import_errors == {}
        return bag.dags

    return load


def model(name: str) -> dict[str, Any]:
    return {"name": name, "data": {"train": "train.csv", "labels": ["bad", "good"]}}


def test_a_release_is_proven_before_and_after_it_gets_the_traffic(load: Any) -> None:
    dag = load(one=model("one"))["roll_back_one"]
    for upstream, downstream in pairwise(CHAIN):
        assert downstream in dag.get_task(upstream).downstream_task_ids
    assert dag.get_task("undo").upstream_task_ids == set(CHAIN[1:])
    assert [task.task_id for task in dag.leaves] == ["report"]
    assert dag.schedule is None


def test_the_form_takes_its_own_model_and_a_version_or_previous(load: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    dags = load(one=model("one"), two=model("two"))
    assert set(dags) == {"roll_back_one", "roll_back_two"}
    params = dags["roll_back_two"].params
    assert (params["model"], params["version"]) == ("two", "previous")
    assert params.get_param("version").resolve(value="20260102000000") == "20260102000000"
    for field, value in (("model", "one"), ("version", "yesterday")):
        with pytest.raises(ParamValidationError):
            params.get_param(field).resolve(value=value)


def test_it_waits_for_no_switch_and_each_task_is_about_its_own_model(load: Any) -> None:
    dag = load(one=model("one"), two=model("two"))["roll_back_two"]
    assert dag.is_paused_upon_creation is False
    assert {task.model for task in dag.tasks} == {"two"}


def test_a_wrong_yaml_does_not_keep_other_models_from_being_rolled_back(load: Any) -> None:
    assert set(load(one=model("one"), broken={"name": "two"})) == {"roll_back_one"}
