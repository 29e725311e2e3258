"""The DAG that deletes old versions' files, as Airflow loads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException, ParamValidationError

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    for name, store in (("one", "s3://models"), ("two", "s3://models"), ("within", "s3://models/one/20260101000000")):
        document = {"name": name, "store": store, "data": {"train": "t.csv", "labels": ["bad", "good"]}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**document, "retention": {"keep_releases": 5}}))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    bag = DagBag(str(DAGS / "retention.py"), safe_mode=False)
    assert bag.import_errors == {}
    return bag.dags["retention"]


def test_every_model_has_a_task_that_knows_where_the_others_are(dag: Any) -> None:
    assert set(dag.task_ids) == {"one", "two", "within"}
    task = dag.get_task("one")
    assert task.store_uri == "s3://models/one"
    assert task.other_store_uris == ["s3://models/one/20260101000000/within"]
    assert dag.get_task("two").other_store_uris == []
    assert task.release_dag_id == "release_one"
    assert task.policy == {"keep_releases": 5, "keep_unreleased": 3, "grace_days": 7}
    assert dag.max_active_runs == 1


@pytest.mark.parametrize(
    ("run_type", "dry_run", "deletes"),
    [("manual", True, "False"), ("manual", False, "True"), ("scheduled", True, "True")],
    ids=["by hand", "by hand, on purpose", "every week"],
)
def test_by_hand_it_only_says_what_would_go_until_it_is_told_otherwise(
    dag: Any, run_type: str, dry_run: bool, deletes: str
) -> None:
    task = dag.get_task("one")
    task.render_template_fields(
        {"params": {"dry_run": dry_run}, "dag_run": SimpleNamespace(run_type=run_type)}  # type: ignore[typeddict-item]
    )
    assert str(task.delete) == deletes
    assert dag.params["dry_run"] is True


@pytest.mark.parametrize(("chosen", "runs"), [("", True), ("one", True), ("two", False)])
def test_one_model_may_be_chosen(dag: Any, chosen: str, runs: bool) -> None:
    task = dag.get_task("one")
    context = {"params": {"model": chosen}, "task": task}
    if runs:
        task._pre_execute_hook(context)
    else:
        with pytest.raises(AirflowSkipException, match="two"):
            task._pre_execute_hook(context)
    with pytest.raises(ParamValidationError):
        dag.params.get_param("model").resolve(value="three")
