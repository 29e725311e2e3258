"""The release DAGs as Airflow loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from include.contracts.kinds.kubeflow_settings import MetricsGate
from include.contracts.schedule import ScheduleConfig
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipelines.spec import bind, parse_pipeline_spec
from model_releases.config import read_section

PROJECT = Path(__file__).parents[2]
DAGS = PROJECT / "dags"

CHAIN = [
    "check",
    "preprocess",
    "train",
    "gate",
    "approve",
    "register",
    "deploy_candidate",
    "smoke_test",
    "promote",
    "verify",
    "release",
]


def load_dags(models_dir: Path | None = None, monkeypatch: pytest.MonkeyPatch | None = None):
    from airflow.dag_processing.dagbag import DagBag

    if models_dir is not None and monkeypatch is not None:
        monkeypatch.setenv("MODELS_DIR", str(models_dir))
    return DagBag(str(DAGS), safe_mode=False)


@pytest.fixture(scope="module")
def bag():
    return load_dags()


def write_model(folder: Path, **settings) -> None:
    document = {"name": "my-model", "data": {"train": "train.csv", "labels": ["bad", "good"]}, **settings}
    (folder / f"{document['name']}.yaml").write_text(yaml.safe_dump(document))


def test_every_model_has_a_dag_and_nothing_fails_to_load(bag):
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [
        "batch_predict_sample_reviews",
        "batch_predict_yelp_reviews",
        "orphaned_runs",
        "release_sample_reviews",
        "release_yelp_reviews",
        "retention",
        "roll_back_sample_reviews",
        "roll_back_yelp_reviews",
        "search_sample_reviews",
        "search_yelp_reviews",
        "staleness",
        "take_over_sample_reviews",
        "take_over_yelp_reviews",
        "test_alerts",
        "watch_releases",
    ]


@pytest.mark.parametrize("dag_id", ["release_sample_reviews", "release_yelp_reviews"])
def test_the_steps_stand_in_the_order_of_the_design(bag, dag_id):
    dag = bag.dags[dag_id]
    for upstream, downstream in pairwise(CHAIN):
        assert downstream in dag.get_task(upstream).downstream_task_ids
    assert set(dag.task_ids) == {*CHAIN, "roll_back", "report"}


@pytest.mark.parametrize("dag_id", ["take_over_sample_reviews", "take_over_yelp_reviews"])
def test_what_is_taken_over_goes_the_way_of_a_release_without_its_training(bag, dag_id):
    dag = bag.dags[dag_id]
    for upstream, downstream in pairwise(step for step in CHAIN if step not in ("preprocess", "train")):
        assert downstream in dag.get_task(upstream).downstream_task_ids
    assert [task.task_id for task in dag.leaves] == ["report"]
    assert (dag.schedule, dag.max_active_runs) == (None, 1)


def test_queries_are_run_before_preprocessing_and_nothing_of_them_reaches_the_pipeline_half(tmp_path, monkeypatch):
    tickets, more = {"connection": "warehouse", "query": "SELECT secret"}, {"connection": "other", "query": "SELECT 1"}
    queries = {"tickets": tickets, "more": more}
    data = {"train": ["query:tickets", "train.csv"], "labels": ["bad", "good"], "queries": queries}
    write_model(tmp_path, data=data)
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    check, query, preprocess = (dag.get_task(name) for name in ("check", "query", "preprocess"))
    assert query.upstream_task_ids == {"check"}
    assert preprocess.upstream_task_ids == {"check", "query"}
    assert query.queries["tickets"].query == "SELECT secret"

    for train, names, refused in (
        (["query:tickets", "train.csv"], "tickets", 0),
        (["train.csv"], "", 0),
        (["query:more"], "more", 1),
        (["query:tickets", "sql:warehouse:SELECT 1"], "tickets", 1),
    ):
        context = {"params": {**dict(dag.params), "train": train, "evaluation": None}}
        assert query.render_template(query.names, context) == names
        said = check.render_template(check.refused_sources, context)
        assert said.count("is not read on behalf of a form") == refused
        handed = preprocess.render_template(preprocess.arguments["data"], context)
        assert json.loads(handed)["train"] == train
        assert "SELECT secret" not in handed
        assert "warehouse" not in handed.replace("sql:warehouse", "")


def test_files_that_are_read_side_by_side_are_read_by_a_pipeline_which_is_given_no_secret(tmp_path, monkeypatch):
    data = {"train": ["a.csv", "https://data.example/b.csv"], "labels": ["bad", "good"], "parallel_files": 3}
    write_model(tmp_path, data=data)
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    check, preprocess = dag.get_task("check"), dag.get_task("preprocess")
    assert preprocess.downstream_task_ids == {"train"}
    assert preprocess.upstream_task_ids == {"check"}

    context = {"params": dict(dag.params), "dag_run": SimpleNamespace(logical_date=None, run_after=datetime.now(UTC))}
    request = {**preprocess.parameters["request"], "output_uri": "file:///store/dataset"}
    rendered = preprocess.render_template({**preprocess.parameters, "request": request}, context)
    pipeline = parse_pipeline_spec(Path(preprocess.pipeline_file).read_text(), source="preprocess_in_parts")
    bound = bind(pipeline, rendered)
    assert (bound["model_name"], bound["parts"], bound["seed"]) == ("my-model", 3, 42)
    assert json.loads(bound["request"]["data"])["train"] == data["train"]
    assert "a.csv" in json.loads(bound["request"]["allowed_sources"])

    signed = {"params": {**dict(dag.params), "train": ["https://data.example/b.csv?sig=hidden"]}}
    said = check.render_template(check.refused_sources, signed)
    assert "set `data.parallel_files` to 1" in said
    assert "hidden" not in said


def test_roll_back_watches_every_step_that_touches_serving(bag):
    task = bag.dags["release_sample_reviews"].get_task("roll_back")
    assert task.upstream_task_ids == {"deploy_candidate", "smoke_test", "promote", "verify", "release"}
    assert task.trigger_rule == "one_failed"


def test_the_run_ends_with_the_report_alone_so_that_a_roll_back_cannot_turn_it_green(bag):
    dag = bag.dags["release_sample_reviews"]
    assert [task.task_id for task in dag.leaves] == ["report"]
    assert dag.get_task("report").trigger_rule == "all_done"


def test_one_release_at_a_time_and_no_catching_up(bag):
    for dag in (bag.dags["release_sample_reviews"], bag.dags["release_yelp_reviews"]):
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        assert "release" in dag.tags
        assert dag.on_failure_callback is not None


def test_only_the_last_step_tells_others_that_the_model_is_live(bag):
    dag = bag.dags["release_sample_reviews"]
    assert [task.task_id for task in dag.tasks if task.outlets] == ["release"]


def test_the_form_has_the_models_settings_as_defaults(bag):
    params = bag.dags["release_yelp_reviews"].params
    assert params["base_model"] == "distilbert-base-uncased"
    assert params["max_length"] == 128
    assert params["train"][0].startswith("https://")
    assert bag.dags["release_sample_reviews"].params["base_model"] == "scratch"


def test_the_gate_decides_by_the_models_settings_and_by_what_the_form_says_of_them(bag):
    from include.contracts.settings import GateConfig

    dag = bag.dags["release_sample_reviews"]
    gate, params = dag.get_task("gate"), dict(dag.params)
    policy = gate.render_template(gate.policy, {"params": params | {"max_size_ratio": 7}})
    assert GateConfig.model_validate(policy) == GateConfig(
        min_macro_f1=0.9, max_regression=0.02, when_inconclusive="release", must_beat_baseline=False, max_size_ratio=7
    )
    assert dag.get_task("train").parameters["confidence"] == GateConfig().confidence


@pytest.mark.parametrize("key", ["live_uri", "champion_uri"], ids=["as now", "as in version 0.1.0"])
def test_a_training_that_was_waited_for_during_an_upgrade_finds_what_check_said_before_it(bag, key):
    # Airflow renders a task again when its waiting is over.
    class CheckedBefore:
        def xcom_pull(self, task_id):
            assert task_id == "check"
            return {"live_version": "20261121030000", key: "file:///store/live", "tracking_uri": "http://mlflow"}

    train = bag.dags["release_sample_reviews"].get_task("train")
    templates = {name: train.parameters[name] for name in ("live_uri", "tracking_uri")}
    rendered = train.render_template(templates, {"ti": CheckedBefore()})
    assert rendered == {"live_uri": "file:///store/live", "tracking_uri": "http://mlflow"}


def test_what_users_have_asked_reaches_the_pipeline_and_promote_where_it_is_captured(tmp_path, monkeypatch):
    class Checked:
        def xcom_pull(self, task_id):
            return {"live_version": "20261121030000"}

    write_model(tmp_path, capture={"enabled": True, "texts": "keep"}, shadow={"requests": 99})
    write_model(tmp_path, name="other-model")
    dags = load_dags(tmp_path, monkeypatch).dags
    train, promote = map(dags["release_my_model"].get_task, ("train", "promote"))
    asked = train.render_template(train.parameters["shadow"], {"ti": Checked()})
    store = promote.beside_live["store_uri"]
    assert asked == {"requests": 99, "days": 7, "store_uri": store, "live_version": "20261121030000"}
    assert store.endswith("/my-model")
    # A pipeline that was compiled before there was such a parameter would refuse it.
    assert "shadow" not in dags["release_other_model"].get_task("train").parameters
    assert dags["release_other_model"].get_task("promote").beside_live == {}


def test_what_check_has_not_said_is_an_error_and_no_empty_text(bag):
    from jinja2 import UndefinedError

    class Checked:
        def xcom_pull(self, task_id):
            return {}

    train = bag.dags["release_sample_reviews"].get_task("train")
    with pytest.raises(UndefinedError):
        train.render_template(train.parameters["live_uri"], {"ti": Checked()})


def test_every_field_of_the_form_is_explained(bag):
    dag = bag.dags["release_sample_reviews"]
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.description or param.schema.get("title"), name
        assert param.schema.get("section"), name


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 1.5), ("max_length", 4), ("min_macro_f1", 1.5), ("train", []), ("base_model", "")],
)
def test_a_bad_value_in_the_form_is_refused_before_any_task(bag, field, value):
    from airflow.sdk.exceptions import ParamValidationError

    param = bag.dags["release_sample_reviews"].params.get_param(field)
    with pytest.raises(ParamValidationError):
        param.resolve(value=value)


@pytest.mark.parametrize(
    ("schedule", "timetable"),
    [
        ({}, "NullTimetable"),
        ({"cron": "0 3 * * 1"}, "MultipleCronTriggerTimetable"),
        ({"assets": ["s3://bucket/reviews"]}, "AssetTriggeredTimetable"),
        ({"cron": "0 3 * * 1", "assets": ["s3://bucket/reviews"]}, "AssetOrTimeSchedule"),
        ({"max_age_days": 30}, "MultipleCronTriggerTimetable"),
        ({"assets": ["s3://bucket/reviews"], "min_interval_hours": 24}, "AssetOrTimeSchedule"),
    ],
)
def test_a_model_is_released_by_cron_by_asset_by_both_or_by_hand(tmp_path, monkeypatch, schedule, timetable):
    write_model(tmp_path, schedule=schedule)
    bag = load_dags(tmp_path, monkeypatch)
    assert bag.import_errors == {}
    assert type(bag.dags["release_my_model"].timetable).__name__ == timetable


def test_the_brakes_stand_before_everything_else_and_see_the_events_of_every_asset(tmp_path, monkeypatch):
    from airflow.sdk import MultipleCronTriggerTimetable

    assets = ["s3://bucket/reviews", "s3://bucket/more"]
    limits = {"min_new_rows": 100, "max_age_days": 30, "timezone": "Europe/Berlin"}
    write_model(tmp_path, schedule={"cron": "0 3 * * 1", "assets": assets, **limits})
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    check = dag.get_task("check")
    assert [asset.uri for asset in check.inlets] == assets
    assert check._pre_execute_hook.schedule == ScheduleConfig(cron="0 3 * * 1", assets=assets, **limits)
    assert type(dag.timetable.asset_condition).__name__ == "AssetAny"
    crons = MultipleCronTriggerTimetable("0 3 * * 1", "0 3 * * *", timezone="Europe/Berlin")
    assert dag.timetable.timetable == crons


def test_a_wrong_yaml_is_an_import_error_that_names_file_and_setting(tmp_path, monkeypatch):
    write_model(tmp_path, training={"epochs": -1})
    bag = load_dags(tmp_path, monkeypatch)
    # Releases and retention stop: a wrong file may name a store that lies in another's. The others look after the rest.
    assert {Path(file).name for file in bag.import_errors} == {"release_models.py", "retention.py"}
    for message in bag.import_errors.values():
        assert "my-model.yaml" in message
        assert "training.epochs" in message


@pytest.mark.processes
def test_loading_the_dags_imports_nothing_heavy():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import release_models\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'kfp', 'kubernetes', 'pandas', 'sklearn', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(DAGS)], capture_output=True, text=True, cwd=PROJECT, check=True,
        env={"PYTHONPATH": str(PROJECT), "PATH": "", "HOME": str(Path.home())},
    )  # fmt: skip
    assert answer.stdout.strip().splitlines()[-1] == "[]"


def test_the_cluster_settings_of_a_model_reach_every_step_that_runs_there(tmp_path, monkeypatch):
    write_model(tmp_path, cluster={"image": "registry.example.com/trainer:1"})
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    for task_id in ("check", "preprocess", "train"):
        assert dag.get_task(task_id).cluster["image"] == "registry.example.com/trainer:1"


def test_pool_queue_and_priority_of_a_model_are_those_of_every_task_of_its_dags(tmp_path, monkeypatch):
    write_model(tmp_path, tasks={"pool": "releases", "queue": "near-the-data", "priority_weight": 200})
    write_model(tmp_path, name="other-model")
    dags = load_dags(tmp_path, monkeypatch).dags
    for dag_id in ("release_my_model", "take_over_my_model"):
        assert {(task.pool, task.queue) for task in dags[dag_id].tasks} == {("releases", "near-the-data")}
        # As it is, and not as a sum over the tasks behind it.
        assert {(task.priority_weight, task.weight_rule) for task in dags[dag_id].tasks} == {(200, "absolute")}
    for dag_id in ("release_other_model", "roll_back_my_model"):
        assert {(task.pool, task.queue) for task in dags[dag_id].tasks} == {("default_pool", "default")}
        assert {(task.priority_weight, task.weight_rule) for task in dags[dag_id].tasks} == {(1, "downstream")}


def test_whoever_reads_the_model_store_takes_the_models_connection_to_it(tmp_path, monkeypatch):
    write_model(tmp_path, store="s3://models", connections={"store": "models_bucket"})
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    readers = [task for task in dag.tasks if hasattr(task, "store_conn_id")]
    assert {task.store_conn_id for task in readers} == {"models_bucket"}
    assert {task.task_id for task in readers} >= {"check", "gate", "register", "deploy_candidate", "release", "report"}


def test_a_release_tells_how_it_ended_whether_it_failed_or_not(bag):
    report = bag.dags["release_sample_reviews"].get_task("report")
    assert report.on_failure_callback == report.on_success_callback
    assert report.on_success_callback


def test_a_release_has_a_deadline_where_the_model_asks_for_one(tmp_path, monkeypatch):
    write_model(tmp_path, alerts={"max_release_hours": 12, "connections": {"normal": "team_mail"}})
    (deadline,) = load_dags(tmp_path, monkeypatch).dags["release_my_model"].deadline
    assert deadline.interval == timedelta(hours=12)
    assert deadline.callback.kwargs["conn_id"] == "team_mail"


def test_a_release_without_a_limit_has_no_deadline(bag):
    assert not bag.dags["release_sample_reviews"].deadline


@pytest.mark.parametrize(
    ("form", "environment", "refused"),
    [
        ({}, "", []),
        ({"train": ["/data/more.csv"], "evaluation": ["s3://models/my-model/1/a.csv"]}, "", ["/data/more.csv"]),
        ({"train": ["/data/more.csv"]}, "/elsewhere, /data", []),
        ({"train": ["/etc/a.csv"], "base_model": "/etc"}, "*", []),
        ({"evaluation": ["http://127.0.0.1/a.csv"], "base_model": "/etc"}, "", ["http://127.0.0.1/a.csv", "/etc"]),
        ({"train": ["include/a.csv", "hub:owner/name", "https://data.example/a.csv"]}, "", ["include/a.csv"]),
    ],
)
def test_the_form_names_what_the_yaml_and_the_installation_allow(tmp_path, monkeypatch, form, environment, refused):
    data = {"train": "train.csv", "labels": ["bad", "good"], "allowed_sources": ["https://data.example"]}
    write_model(tmp_path, store="s3://models", data=data)
    monkeypatch.setenv("ALLOWED_SOURCES", environment)
    dag = load_dags(tmp_path, monkeypatch).dags["release_my_model"]
    check, preprocess = dag.get_task("check"), dag.get_task("preprocess")
    said = check.render_template(check.refused_sources, {"params": {**dict(dag.params), **form}})
    assert said.count("is not read on behalf of a form") == len(refused)
    for name in refused:
        assert f"{name} is not read" in said
    allowed = json.loads(preprocess.render_template(preprocess.arguments["allowed-sources"], {}))
    assert {"train.csv", "scratch", "s3://models/my-model", "hub:", "https://data.example"} <= set(allowed)


def test_a_pipeline_of_ones_own_goes_the_same_way_without_preprocessing(tmp_path, monkeypatch):
    (tmp_path / "iris.yaml").write_text((PROJECT / "examples" / "iris" / "iris.yaml").read_text())
    bag = load_dags(tmp_path, monkeypatch)
    assert bag.import_errors == {}
    dag = bag.dags["release_iris"]
    chain = ["check", "train", "collect", "gate", *CHAIN[CHAIN.index("approve") :]]
    for upstream, downstream in pairwise(chain):
        assert downstream in dag.get_task(upstream).downstream_task_ids
    assert set(dag.task_ids) == {*chain, "roll_back", "report"}
    assert {"roll_back_iris", "take_over_iris"} < bag.dags.keys()

    params = {name: dag.params[name] for name in dag.params}
    gate = {
        "gate_accuracy_at_least": 0.9,
        "gate_accuracy_max_regression": 0.05,
        "gate_log_loss_at_most": 0.5,
        "gate_log_loss_max_regression": None,
    }
    assert params == {"regularization": 1.0, "seed": 7, "require_approval": False, **gate}
    train, check = dag.get_task("train"), dag.get_task("check")
    assert check.parameters == train.parameters
    rendered = train.render_template(train.parameters, {"params": params | {"seed": 8}})
    assert rendered == {"regularization": "1.0", "seed": "8"}
    assert dag.get_task("roll_back").proof_request == '{"instances": [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.4, 2.1]]}'
    assert dag.get_task("deploy_candidate").serving_conn_id == "local_kserve_default"
    assert dag.get_task("deploy_candidate").settings == {"predictor": {"format": "sklearn", "protocol": "v1"}}


def test_the_form_of_such_a_release_decides_what_is_good_enough(tmp_path, monkeypatch):
    settings = yaml.safe_load((PROJECT / "examples" / "iris" / "iris.yaml").read_text())
    settings["outputs"]["predictions"] = "rows"
    settings["metrics"].append({"name": "f-1@macro", "from_predictions": "macro_f1", "max_regression": 0})
    (tmp_path / "iris.yaml").write_text(yaml.safe_dump(settings))
    dag = load_dags(tmp_path, monkeypatch).dags["release_iris"]
    task = dag.get_task("gate")
    form = {name: dag.params[name] for name in dag.params}

    def asked(**chosen):
        return read_section(MetricsGate, task.render_template(task.policy, {"params": form | chosen}), name="metrics")

    as_written = asked()
    assert [(each.at_least, each.at_most, each.max_regression) for each in as_written.metrics] == [
        (0.9, None, 0.05),
        (None, 0.5, None),
        (None, None, 0.0),
    ]
    assert as_written.when_inconclusive == "reject"
    changed = asked(gate_accuracy_at_least=0, gate_accuracy_max_regression=None, when_inconclusive="release")
    assert (changed.metrics[0].at_least, changed.metrics[0].max_regression) == (0.0, None)
    assert changed.when_inconclusive == "release"
    assert asked(gate_f_1_macro_max_regression=0.25).metrics[2].max_regression == 0.25
    for wrong in (
        {"gate_accuracy_at_least": "much"},
        {"gate_log_loss_at_most": "nan"},
        {"when_inconclusive": "{{ 1 }}"},
    ):
        with pytest.raises(InvalidRequestError, match="Settings are wrong: metrics"):
            asked(**wrong)
    assert dag.params.get_param("gate_f_1_macro_max_regression").schema["minimum"] == 0
    assert dag.params.get_param("when_inconclusive").schema["enum"] == ["reject", "release"]
