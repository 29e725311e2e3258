"""The DAGs that search better settings, as Airflow loads them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException

from model_releases.config import ModelConfigError, read_model_config

DAGS = Path(__file__).parents[2] / "dags"
ID = "20261130090000"


def write(folder: Path, **document: Any) -> Path:
    path = folder / "reviews.yaml"
    data = {"train": "t.csv", "labels": ["bad", "good"]}
    path.write_text(yaml.safe_dump({"name": "reviews", "store": "s3://models", "data": data} | document))
    return path


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **document: Any) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    write(folder, **document)
    monkeypatch.setenv("MODELS_DIR", str(folder))
    bags = [DagBag(str(DAGS / name), safe_mode=False) for name in ("search.py", "release_models.py")]
    assert [bag.import_errors for bag in bags] == [{}, {}]
    return SimpleNamespace(search=bags[0].dags["search_reviews"], release=bags[1].dags["release_reviews"])


def test_a_search_is_by_hand_unless_the_yaml_says_when(tmp_path, monkeypatch):
    dag = load(tmp_path, monkeypatch).search
    assert set(dag.task_ids) == {"begin", "preprocess", "search", "tell", "release"}
    assert (type(dag.timetable).__name__, dag.max_active_runs, dag.catchup) == ("NullTimetable", 1, False)

    config = {"search": {"trials": 5, "cron": "0 1 * * 6"}, "schedule": {"timezone": "Europe/Berlin"}}
    dag = load(tmp_path, monkeypatch, **config).search
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("0 1 * * 6", "Europe/Berlin")
    assert dag.params["trials"] == 5


def test_rows_of_a_query_are_asked_for_once_and_read_by_the_same_preprocessing_as_a_releases(tmp_path, monkeypatch):
    query = {"rows": {"connection": "warehouse", "query": "select text, label from rows"}}
    data = {"train": "query:rows", "labels": ["bad", "good"], "queries": query}
    found = load(tmp_path, monkeypatch, data=data)

    assert found.search.get_task("query").names == "rows"
    ours, theirs = (dag.get_task("preprocess").arguments for dag in (found.search, found.release))
    assert set(ours) == set(theirs)
    assert ours["seed"] == "42"  # as the release's form has it: the same rows are split off for evaluation
    assert ours["queries-uri"].endswith("/queries")


def test_the_form_says_what_the_run_is_told(tmp_path, monkeypatch):
    space = {"epochs": {"low": 1, "high": 3, "step": 1}}
    dag = load(tmp_path, monkeypatch, search={"space": space}, training={"epochs": 2}).search
    task = dag.get_task("search")
    macros = {"search_id": dag.user_defined_macros["search_id"], "code_revision": lambda: "abc"}
    context = {
        "params": {"search": ID, "trials": 7, "minutes": 1.5, "objective": "log_loss", "early_stop": "none",
                   "parallel": 2, "release": True},
        "dag_run": None,
        "ti": SimpleNamespace(xcom_pull=lambda *arguments: {"tracking_uri": "http://mlflow"}),
        **macros,
    }  # fmt: skip
    task.render_template_fields(context)
    parameters = task.parameters
    assert parameters["output_uri"] == f"s3://models/reviews/search/{ID}"
    assert parameters["training"]["epochs"] == 2
    assert parameters["settings"]["space"]["epochs"]["high"] == 3
    assert {name: parameters["settings"][name] for name in ("trials", "minutes", "parallel", "objective")} == {
        "trials": "7",
        "minutes": "1.5",
        "parallel": "2",
        "objective": "log_loss",
    }

    from include.contracts.search.settings import SearchConfig

    assert "null" not in json.dumps(parameters)  # kfp.local takes none
    assert SearchConfig.model_validate(parameters["settings"]).release is True


def test_what_was_found_fills_in_the_releases_form(tmp_path, monkeypatch):
    found = load(tmp_path, monkeypatch)
    form = {"learning_rate": 0.002, "batch_size": 8, "settings_from": f"search {ID}"}
    release = found.search.get_task("release")
    context = {
        "ti": SimpleNamespace(xcom_pull=lambda *arguments, **named: form),
        "params": {"search": ID},
        "dag_run": None,
        "search_id": found.search.user_defined_macros["search_id"],
    }
    release.render_template_fields(context)

    assert json.loads(release.conf) == form
    assert (release.trigger_dag_id, release.trigger_run_id) == ("release_reviews", f"search__{ID}")
    params = found.release.params
    for name, value in form.items():
        assert params.get_param(name).resolve(value) == value


@pytest.mark.parametrize("origin", ["search 1", "search 20261130090000; drop", "by hand"])
def test_a_form_cannot_say_anything_of_where_settings_come_from(tmp_path, monkeypatch, origin):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        load(tmp_path, monkeypatch).release.params.get_param("settings_from").resolve(origin)


@pytest.mark.parametrize(
    ("asked", "form", "runs"), [(True, {"epochs": 2}, True), (True, {}, False), (False, {"epochs": 2}, False)]
)
def test_a_release_starts_when_it_is_asked_for_and_something_better_was_found(tmp_path, monkeypatch, asked, form, runs):
    task = load(tmp_path, monkeypatch).search.get_task("release")
    context = {"params": {"release": asked}, "ti": SimpleNamespace(xcom_pull=lambda **named: form)}
    if runs:
        task._pre_execute_hook(context)
    else:
        with pytest.raises(AirflowSkipException):
            task._pre_execute_hook(context)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"cron": "every night"}, "search.cron: 'every night' is no cron expression"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 9}}}, "9 cannot be searched: training.learning_rate"),
        ({"trials": 1}, "search.trials"),
        ({"objective": "accuracy"}, "search.objective"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, search, message):
    with pytest.raises(ModelConfigError, match=message.replace(".", r"\.")):
        read_model_config(write(tmp_path, search=search))
