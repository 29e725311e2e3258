"""A model's YAML is read with its defaults, and what is wrong in it is named by file and setting."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.contracts.monitoring.shadow_settings import BesideLive, Replay
from include.contracts.schedule import own_times
from include.contracts.settings import DataConfig
from include.models import MODELS_DIR, PROJECT_DIR
from model_releases import ids
from model_releases.config import (
    KubeflowModelConfig,
    ModelConfigError,
    ServingSection,
    TextClassifierConfig,
    read_configs_to_build,
    read_model_config,
    read_model_configs,
)
from tests.own_models import SETTINGS

SMALLEST = "name: reviews\ndata:\n  train: train.csv\n  labels: [bad, good]\n"


def write(folder: Path, text: str = SMALLEST, name: str = "reviews.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_smallest_file_gets_the_defaults(tmp_path: Path) -> None:
    config = read_model_config(write(tmp_path))

    assert config.data.train == ["train.csv"]
    assert config.data.evaluation == []
    assert config.data.labels == {"bad": "bad", "good": "good"}
    assert config.training.base_model == "scratch"
    assert config.approval.required is False
    assert config.pipeline_file == str(PROJECT_DIR / "include/pipelines/train_classifier.yaml")


def test_label_keys_become_text_and_keep_their_order() -> None:
    config = DataConfig.model_validate({"train": ["a.csv"], "labels": {3: "three", "1.5": "more", "True": 1}})

    assert list(config.labels.items()) == [("3", "three"), ("1.5", "more"), ("True", "1")]


def test_settings_survive_the_way_through_a_command_line() -> None:
    data = read_model_config(MODELS_DIR / "yelp-reviews.yaml").data

    assert DataConfig.model_validate_json(data.model_dump_json()) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (SMALLEST.replace("reviews", "Reviews!"), "name: String should match pattern"),
        (SMALLEST.replace("reviews", "r" * 49), "name: String should match pattern"),
        (SMALLEST.replace("reviews", "reviews-"), "name: String should match pattern"),
        ("name: reviews\n", "data: Field required"),
        (f"{SMALLEST}store: s3://key:password@bucket\n", "store, .MODEL_STORE: no user, password or signature"),
        (SMALLEST.replace("[bad, good]", "[bad]"), "a classifier needs at least two"),
        (SMALLEST.replace("[bad, good]", "{1: same, 2: same}"), "two of them have the same name"),
        (SMALLEST + "  evaluation_fraction: 1\n", r"data\.evaluation_fraction: Input should be less than 1"),
        (SMALLEST + "  text_column: 2\n", "text_column, label_column, date_column: all are names, or all are numbers"),
        (SMALLEST + "  text_column: 0\n  label_column: 1\n", "all are numbers, of which the first is 1"),
        (SMALLEST + "  text_column: [2, 1]\n  label_column: 1\n", "name each column once, and not the one with the"),
        (SMALLEST + "training: {epoch: 3}\n", r"training\.epoch: Extra inputs are not permitted"),
        (SMALLEST + "gate: {min_macro_f1: 90}\n", r"gate\.min_macro_f1: Input should be less than or equal to 1"),
        (SMALLEST + "keep_versions: 1\n", "keep_versions: Input should be greater than or equal to 2"),
        (SMALLEST + "connections: {serve: x}\n", r"connections\.serve"),
        (SMALLEST + "schedule: {timezone: Europe/Bonn}\n", r"schedule\.timezone: 'Europe/Bonn' is no time zone; use"),
        (SMALLEST + "schedule: {timezone: Europe}\n", r"schedule\.timezone: 'Europe' is no time zone"),
        (SMALLEST + "schedule: {timezone: /etc/localtime}\n", r"schedule\.timezone: '/etc/localtime' is no time zone"),
        (SMALLEST.replace("train.csv", "query:tickets"), "data.queries: has no 'tickets', which a source names"),
        (SMALLEST + "  queries: {tickets: {connection: x}}\n", r"data\.queries\.tickets\.query: Field required"),
        (SMALLEST + "  queries: {../x: {connection: x, query: x}}\n", r"data\.queries\.\.\./x.*should match pattern"),
        (SMALLEST.replace("train.csv", "[{connection: x, query: SELECT 1}]"), r"data\.train\.0: .*valid string"),
        (
            SMALLEST + "gate: {max_changed_share: 0.1}\n",
            "gate.max_changed_share: .*set capture.enabled and capture.texts",
        ),
        (
            SMALLEST + "gate: {max_changed_share: 0.1}\ncapture: {enabled: true, texts: hash}\n",
            "gate.max_changed_share: no request can be answered again",
        ),
        (SMALLEST + "shadow: {requests: 0}\n", r"shadow\.requests: Input should be greater than or equal to 1"),
        ("- reviews\n", "expected settings such as .*found list"),
        ("", "expected settings such as .*found NoneType"),
        ("name: [\n", "cannot be read as YAML"),
    ],
)
def test_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ModelConfigError, match=rf"reviews\.yaml: .*{complaint}"):
        read_model_config(write(tmp_path, text))


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    text = SMALLEST + "training: {epochs: 0, batch_size: many}\n"

    with pytest.raises(ModelConfigError, match=r"training\.epochs: .*; training\.batch_size: "):
        read_model_config(write(tmp_path, text))


def test_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")

    for name in ("none.yaml", "latin.yaml"):
        with pytest.raises(ModelConfigError, match=rf"{name}: cannot be read"):
            read_model_config(tmp_path / name)


def test_folder_is_read_in_the_order_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, SMALLEST.replace("reviews", "second"), "b.yaml")
    write(tmp_path, SMALLEST.replace("reviews", "first"), "a.yaml")
    write(tmp_path, "no settings", "notes.txt")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))

    assert [config.name for config in read_model_configs()] == ["first", "second"]


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, name="a.yaml")
    write(tmp_path, name="b.yaml")

    with pytest.raises(ModelConfigError, match=r"b\.yaml: model 'reviews' is defined in .*a\.yaml already"):
        read_model_configs(tmp_path)


def test_store_is_the_models_own_else_the_environments_else_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODEL_STORE", raising=False)
    plain = read_model_config(write(tmp_path))
    own = read_model_config(write(tmp_path, SMALLEST + "store: gs://models/\n"))

    assert plain.store_uri == f"file://{PROJECT_DIR}/.state/store/reviews"
    monkeypatch.setenv("MODEL_STORE", "s3://bucket/store/")
    assert plain.store_uri == "s3://bucket/store/reviews"
    assert own.store_uri == "gs://models/reviews"


def test_connections_have_default_names(tmp_path: Path) -> None:
    config = read_model_config(write(tmp_path, SMALLEST + "connections: {serving: gpu_cluster}\n"))

    assert config.connection("serving") == "gpu_cluster"
    assert config.connection("registry") == "registry_default"


def test_shipped_models_are_valid_and_named_like_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELS_DIR", raising=False)
    files = sorted(path.stem for path in MODELS_DIR.glob("*.yaml"))

    assert [config.name for config in read_model_configs()] == files
    assert {"sample-reviews", "yelp-reviews"} <= set(files)


def test_cluster_settings_are_read(tmp_path: Path) -> None:
    text = SMALLEST + (
        "cluster:\n"
        "  volumes: [{claim: models, mount_path: /mnt/models}]\n"
        "  steps: {train: {retries: 2, tolerations: [{key: gpu, operator: Exists}]}}\n"
    )

    cluster = read_model_config(write(tmp_path, text)).cluster

    assert cluster.volumes[0].claim == "models"
    assert cluster.steps["train"].retries == 2
    assert cluster.image is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cluster: {imge: x}\n", r"cluster\.imge: Extra inputs are not permitted"),
        ("cluster: {volumes: [{claim: models}]}\n", r"cluster\.volumes\.0\.mount_path: Field required"),
        ("cluster: {run_as_user: 0}\n", r"cluster\.run_as_user: Input should be greater than or equal to 1"),
        ("cluster: {steps: {package: {cache: true}}}\n", r"steps\.package\.cache: this step writes to the model store"),
    ],
)
def test_a_wrong_cluster_setting_is_named_with_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ModelConfigError, match=rf"reviews\.yaml: .*{complaint}"):
        read_model_config(write(tmp_path, SMALLEST + text))


def test_the_documented_settings_for_a_cluster_can_be_read(tmp_path: Path) -> None:
    page = (PROJECT_DIR / "docs" / "adding-a-model.md").read_text(encoding="utf-8")
    section = page.partition("## Running it in a cluster")[2].partition("\n## ")[0]
    volume, object_store = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)

    config = read_model_config(write(tmp_path, SMALLEST + volume))
    assert config.store_uri == f"file://{config.cluster.volumes[0].mount_path}/reviews"
    assert read_model_config(write(tmp_path, SMALLEST + object_store)).cluster.steps["train"].retries == 2


def test_a_floor_for_an_unknown_label_is_named_with_the_labels_there_are(tmp_path: Path) -> None:
    known = read_model_config(write(tmp_path, SMALLEST + "gate: {min_class_f1: {bad: 0.5}}\n"))
    assert known.gate.min_class_f1 == {"bad": 0.5}
    with pytest.raises(ModelConfigError, match="min_class_f1: 'ugly' is no label; labels are 'bad', 'good'"):
        read_model_config(write(tmp_path, SMALLEST + "gate: {min_class_f1: {ugly: 0.5}}\n"))


@pytest.mark.parametrize(
    "setting", ["confidence: 1", "confidence: 0.4", "when_inconclusive: maybe", "max_size_ratio: 0"]
)
def test_a_gate_without_meaning_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ModelConfigError, match=rf"gate\.{setting.partition(':')[0]}"):
        read_model_config(write(tmp_path, f"{SMALLEST}gate: {{{setting}}}\n"))


@pytest.mark.parametrize(("asked_for", "expected"), [({}, "float32"), ({"precision": "float32"}, "float32")])
def test_a_pod_with_a_gpu_gets_pytorch(asked_for: dict[str, Any], expected: str) -> None:
    assert ServingSection.model_validate({"kserve": {"gpu": 1}} | asked_for).precision == expected
    with pytest.raises(ValueError, match="int8 is measured on CPUs only"):
        ServingSection.model_validate({"kserve": {"gpu": 1}, "precision": "int8"})


@pytest.mark.parametrize(
    "text",
    [
        "data:\n  train: https://me:hidden@h: /a.csv\n",
        SMALLEST.replace("train.csv", "{https://me:hidden@h/a.csv: 1}"),
        SMALLEST.replace("train.csv", "[https://me:hidden@h/a.csv, 1]"),
        f"{SMALLEST}keep_versions: https://me:hidden@h/a.csv\n",
        f"{SMALLEST}store: https://me:hidden@h/a\n",
    ],
)
def test_what_is_told_of_a_wrong_file_holds_no_address_of_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelConfigError, match=r"reviews\.yaml: ") as caught:
        read_model_config(write(tmp_path, text))
    # As Airflow shows it beside the DAG file.
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_cluster_has_a_serving_runtime_for_each_of_ours() -> None:
    def named(**section: Any) -> str:
        return ServingSection.model_validate(section).kserve.runtime

    assert ServingSection().kserve.runtime == named(runtime="torchserve") == "kubeflow-model-release"
    assert named(runtime="native") == named(runtime="native", kserve={"cpu": "2"}) == "kubeflow-model-release-native"
    assert named(runtime="native", kserve={"runtime": "our-own"}) == "our-own"
    with pytest.raises(ValueError, match="runtime"):
        named(runtime="mlserver")


def test_a_model_of_a_pipeline_of_ones_own_has_the_parts_that_every_model_has(tmp_path: Path) -> None:
    config = read_model_config(write(tmp_path, (PROJECT_DIR / "examples" / "iris" / "iris.yaml").read_text()))

    assert isinstance(config, KubeflowModelConfig)
    assert config.pipeline_arguments == {"pipeline_file": str(PROJECT_DIR / "examples" / "iris" / "pipeline.yaml")}
    assert config.serving_settings == {"predictor": {"format": "sklearn", "protocol": "v1"}}
    assert config.example == b'{"instances": [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.4, 2.1]]}'
    assert config.main_metric == "accuracy"
    assert config.connection("serving") == "local_kserve_default"


def test_a_predictor_says_what_a_cluster_is_asked_for(tmp_path: Path) -> None:
    settings = yaml.safe_load((PROJECT_DIR / "examples" / "iris" / "iris.yaml").read_text())
    kserve = {"cpu": 2, "max_replicas": 3, "storage": {"file:///mnt": "pvc://models"}}
    settings["predictor"] = {"container": {"image": "server:1", "args": ["--fast"]}, "protocol": "v2", "kserve": kserve}
    config = read_model_config(write(tmp_path, yaml.safe_dump(settings)))

    container = {"image": "server:1", "command": [], "args": ["--fast"], "env": {}, "port": 8080}
    assert config.serving_settings == {
        "predictor": {"protocol": "v2", "container": container},
        "kserve": kserve | {"cpu": "2"},
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "oracle"}, "kind: it is none of kubeflow-model, text-classifier"),
        ({"data": {"train": "a.csv"}}, "data: Extra inputs"),
        ({"metrics": []}, "metrics: "),
        ({"metrics": [{"name": "accuracy"}, {"name": "accuracy"}]}, "two of them have the same name"),
        ({"metrics": [{"name": "accuracy", "better": "larger"}]}, "metrics.0.better"),
        ({"metrics": [{"name": "f1", "from_predictions": "macro_f1"}]}, "outputs.predictions: f1 is computed of them"),
        ({"metrics": [{"name": "f1", "from_predictions": "f1"}]}, "metrics.0.from_predictions"),
        ({"metrics": [{"name": "e", "from_predictions": "mean_squared_error"}]}, "is better the lower it is"),
        ({"gate": {"confidence": 1}}, "gate.confidence"),
        ({"parameters": {"require_approval": True}}, "require_approval is a field of every release"),
        ({"parameters": {"gate_accuracy_at_least": 1}}, "gate_accuracy_at_least is a field of every release"),
        ({"metrics": [{"name": "f-1"}, {"name": "f.1"}]}, "two of them have the field gate_f_1_at_least in the form"),
        ({"parameters": {"a b": 1}}, "'a b' cannot be a parameter's name"),
        ({"parameters": {"seed": None}}, "seed has no value"),
        ({"smoke_test": {"requests": []}}, "smoke_test.requests"),
        ({"smoke_test": {"requests": [{"request": "x" * 200_001}]}}, "a request may have 200,000 bytes"),
        ({"schedule": {"cron": "0 3 * * 1", "min_new_rows": 5}}, "nobody knows which rows"),
        ({"predictor": {"format": "sklearn", "protocol": "v3"}}, "predictor.protocol"),
        ({"predictor": {"protocol": "v1"}}, "predictor: exactly one of `format` and `container`"),
        ({"predictor": {"format": "sklearn", "container": {"image": "a:1"}}}, "predictor: exactly one of"),
        ({"predictor": {"container": {"image": "a:1"}, "runtime": "a"}}, "`runtime` is for a format only"),
        ({"predictor": {"container": {"image": "a; rm -r /"}}}, "predictor.container.image"),
        ({"predictor": {"container": {"image": "https://a/b"}}}, "predictor.container.image"),
        ({"predictor": {"container": {"image": "a:1", "args": ["b\nc"]}}}, "predictor.container.args.0"),
        ({"predictor": {"container": {"image": "a:1", "port": 80}}}, "predictor.container.port"),
        ({"predictor": {"format": "sklearn", "model_name": "../a"}}, "predictor.model_name"),
        ({"predictor": {"format": "sklearn", "kserve": {"runtime": "a"}}}, "predictor.kserve.runtime"),
        ({"predictor": {"format": "sklearn", "kserve": {"cpu": "lots"}}}, "predictor.kserve.cpu"),
        ({"outputs": {"model": "../model"}}, "outputs.model"),
    ],
)
def test_what_is_wrong_with_such_a_model_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ModelConfigError, match=rf"reviews\.yaml: .*{complaint}"):
        read_model_config(write(tmp_path, yaml.safe_dump(SETTINGS | change)))


def test_a_pipeline_may_be_one_that_the_service_keeps(tmp_path: Path) -> None:
    kept = {"pipeline": {"name": "of-another-team", "version": "v3"}}
    config = read_model_config(write(tmp_path, yaml.safe_dump(SETTINGS | kept)))
    assert isinstance(config, KubeflowModelConfig)
    assert config.pipeline_arguments == {"pipeline": "of-another-team", "pipeline_version": "v3"}


def test_a_gate_judges_slices_that_are_named(tmp_path: Path) -> None:
    text = SMALLEST + "  slices: [{name: German, language: de}]\ngate: {min_slice_macro_f1: {German: 0.8}}\n"
    assert read_model_config(write(tmp_path, text)).gate.min_slice_macro_f1 == {"German": 0.8}
    with pytest.raises(ModelConfigError, match=r"gate\.min_slice_macro_f1: 'German' is no slice .* those are none"):
        read_model_config(write(tmp_path, text.replace("  slices: [{name: German, language: de}]\n", "")))


def test_a_gate_holds_groups_that_are_named_alike(tmp_path: Path) -> None:
    slices = "  slices: [{name: German, language: de}, {name: English, language: en}]\n"
    text = SMALLEST + slices + "gate: {equal_groups: {language: [German, English]}}\n"
    assert read_model_config(write(tmp_path, text)).gate.equal_groups == {"language": ["German", "English"]}
    with pytest.raises(ModelConfigError, match=r"gate\.equal_groups\.language: 'French' is no slice of data\.slices"):
        read_model_config(write(tmp_path, text.replace("[German, English]", "[German, French]")))
    with pytest.raises(ModelConfigError, match="at least 2 items"):
        read_model_config(write(tmp_path, text.replace("[German, English]", "[German]")))


@pytest.mark.parametrize(
    ("sections", "asks_pipeline", "asks_deployed"),
    [
        ("", False, False),
        ("capture: {enabled: true, texts: hash}\n", True, True),
        ("capture: {enabled: true}\nshadow: {enabled: false}\n", False, False),
        ("shadow: {enabled: true}\n", False, True),  # examples of the release are there without captured requests
        ("capture: {enabled: true}\nshadow: {deployed_requests: 0}\n", True, False),
    ],
)
def test_candidates_are_asked_what_users_have_asked_where_that_is_captured(
    tmp_path: Path, sections: str, asks_pipeline: bool, asks_deployed: bool
) -> None:
    config = read_model_config(write(tmp_path, SMALLEST + sections))
    assert isinstance(config, TextClassifierConfig)
    replay = config.replay(live_version="20260101000000")
    assert (bool(replay), bool(config.beside_live)) == (asks_pipeline, asks_deployed)
    if replay:
        assert Replay.asked(replay) == Replay(
            requests=500, days=7, store_uri=config.store_uri, live_version="20260101000000"
        )
        assert Replay.asked(replay | {"live_version": ""}) is None, "nothing is live"
    if config.beside_live:
        assert BesideLive.model_validate(config.beside_live).store_uri == config.store_uri


def test_a_cron_expression_has_numbers_of_the_models_own(tmp_path: Path) -> None:
    text = SMALLEST + "schedule: {cron: H 3 * * H}\ndrift: {cron: H H * * *}\nsearch: {cron: H H H * *}\n"
    config = read_model_config(write(tmp_path, text))
    assert isinstance(config, TextClassifierConfig)
    assert (config.schedule.cron, config.drift.cron, config.search.cron) == ("11 3 * * 0", "11 6 * * *", "11 6 18 * *")


def test_the_models_own_times_are_spread_over_the_hour_and_the_day() -> None:
    times = [own_times("H H * * *", f"model-{number}").split()[:2] for number in range(1000)]
    for place, count in ((0, 60), (1, 24)):
        met = Counter(int(time[place]) for time in times)
        assert set(met) == set(range(count))
        assert max(met.values()) < 2.2 * 1000 / count
    assert own_times("0 3 * * 1", "model") == "0 3 * * 1"
    assert own_times("@daily", "H") == "@daily"


@pytest.mark.parametrize("cron", ["H(0-5) 3 * * *", "H 3 * *", "h 3 * * *", "H/5 3 * * *"])
def test_nothing_but_a_letter_of_its_own_is_a_number(tmp_path: Path, cron: str) -> None:
    with pytest.raises(ModelConfigError, match=r"schedule\.cron: .* is no cron expression"):
        read_model_config(write(tmp_path, f"{SMALLEST}schedule: {{cron: '{cron}'}}\n"))


@pytest.fixture
def three_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("first", "second-model", "third"):
        write(tmp_path, SMALLEST.replace("reviews", name), f"{name}.yaml")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    return tmp_path


def built(monkeypatch: pytest.MonkeyPatch, dag_id: str | None, **settings: Any) -> list[str]:
    """Return the models that a file of release DAGs builds for, when a task of this DAG is to be run."""
    if dag_id:
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    return [config.name for config in read_configs_to_build(ids.release_dag, **settings)]


def test_a_task_reads_its_own_model_alone(three_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(monkeypatch, None) == ["first", "second-model", "third"]
    (three_models / "third.yaml").write_text("name: third\ndata: [broken\n")
    assert built(monkeypatch, "release_second_model") == ["second-model"]
    with pytest.raises(ModelConfigError, match=r"third\.yaml"):
        built(monkeypatch, "release_third")
    with pytest.raises(ModelConfigError, match=r"third\.yaml"):
        built(monkeypatch, "somebody_elses_dag")
    assert built(monkeypatch, "release_third", leave_out_wrong=True) == ["first", "second-model"]


def test_a_model_whose_name_is_written_otherwise_is_found_by_reading(
    three_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (three_models / "third.yaml").write_text(f"{{{SMALLEST.splitlines()[0]}, data: {{train: a.csv, labels: [a, b]}}}}")
    assert built(monkeypatch, "release_reviews") == ["first", "second-model", "reviews"]
    (three_models / "first.yaml").write_text("# name: reviews\nname: 'first'\n" + SMALLEST.split("\n", 1)[1])
    assert built(monkeypatch, "release_first") == ["first"]


def test_two_files_of_one_model_are_told_its_tasks_as_well(three_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(three_models, SMALLEST.replace("reviews", "third"), "again.yaml")
    with pytest.raises(ModelConfigError, match=r"defined in .* already"):
        built(monkeypatch, "release_third")
