"""The DAG that measures what older versions lose, as Airflow loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    for name in ("one", "two"):
        document = {"name": name, "store": "s3://models", "data": {"train": "t.csv", "labels": ["bad", "good"]}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**document, "gate": {"confidence": 0.9}}))
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    bag = DagBag(str(DAGS / "staleness.py"), safe_mode=False)
    assert bag.import_errors == {}
    return bag.dags["staleness"]


def test_a_schedule_measures_every_model_that_can_be_read(dag: Any) -> None:
    assert set(dag.task_ids) == {"versions_one", "measure_one", "versions_two", "measure_two"}
    assert dag.timetable.expression == "0 5 * * 1"
    assert (dag.max_active_runs, dag.max_active_tasks) == (1, 1)
    measure = dag.get_task("measure_one")
    assert measure.upstream_task_ids == {"versions_one"}
    assert measure.arguments["output-uri"] == "s3://models/one/staleness"
    assert measure.arguments["confidence"] == "0.9"


def test_the_module_is_told_what_was_found_also_after_it_was_deferred(dag: Any) -> None:
    measure = dag.get_task("measure_one")
    ti = type("Ti", (), {"xcom_pull": lambda self, task: {"versions": "[1]", "rows_uri": task}})()
    measure.render_template_fields({"ti": ti, "params": {}})
    assert (measure.arguments["versions"], measure.arguments["rows-uri"]) == ("[1]", "versions_one")


@pytest.mark.parametrize(("chosen", "runs"), [("", True), ("one", True), ("two", False)])
def test_one_model_may_be_chosen(dag: Any, chosen: str, runs: bool) -> None:
    task = dag.get_task("versions_one")
    context = {"params": {"model": chosen}, "task": task}
    if runs:
        task._pre_execute_hook(context)
    else:
        with pytest.raises(AirflowSkipException):
            task._pre_execute_hook(context)
