"""The compiled pipeline asks Kubeflow for what it needs, and releases models that are good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.models import read_trained_model
from tests.monitoring.support import request, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ir() -> dict:
    text = (ROOT / "include" / "pipelines" / "train_classifier.yaml").read_text(encoding="utf-8")
    return dict(next(iter(yaml.safe_load_all(text))))


def test_every_parameter_is_described_and_typed(ir):
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    assert [name for name, spec in parameters.items() if not spec.get("description")] == []
    assert {name for name, spec in parameters.items() if "isOptional" not in spec} == {
        "dataset_uri",
        "output_uri",
        "model_name",
        "model_version",
    }
    types = {name: spec["parameterType"] for name, spec in parameters.items()}
    assert (types["confidence"], types["training"], types["serving"]) == ("NUMBER_DOUBLE", "STRUCT", "STRUCT")


def test_the_defaults_are_those_of_the_models_yaml(ir):
    from include.contracts.settings import ResourcesConfig

    defaults = {name: spec.get("defaultValue") for name, spec in ir["root"]["inputDefinitions"]["parameters"].items()}
    expected = ResourcesConfig().model_dump() | {"accelerator_count": "0", "training": {}, "serving": {}}
    assert {name: defaults[name] for name in expected} == expected


def test_steps_install_nothing_and_are_not_cached(ir):
    for executor in ir["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == "kubeflow-model-release:0.1.0"
        assert "pip" not in " ".join(executor["container"]["command"])
    for task in ir["root"]["dag"]["tasks"].values():
        assert not task["cachingOptions"].get("enableCache")


def test_steps_ask_for_what_the_parameters_say(ir):
    assert {task["taskInfo"]["name"] for task in ir["root"]["dag"]["tasks"].values()} == {
        "Train",
        "Package",
        "Evaluate",
    }
    for executor in ir["deploymentSpec"]["executors"].values():
        resources = executor["container"]["resources"]
        assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] != ""
        assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] != ""
    executors = ir["deploymentSpec"]["executors"]
    assert set(executors["exec-train"]["container"]["resources"]["accelerator"]) == {"resourceCount", "resourceType"}
    assert "accelerator" not in executors["exec-package"]["container"]["resources"]


def test_kubeflow_can_resolve_every_resource_parameter(ir):
    """Kubeflow's driver reads a resource parameter as text: a number would come out as nothing, so no GPU."""
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    for name in ("cpu", "memory", "accelerator_type", "accelerator_count"):
        assert parameters[name]["parameterType"] == "STRING"


@pytest.mark.long
@pytest.mark.pipelines
@pytest.mark.torchserve
def test_the_sample_model_is_good_and_is_compared_with_the_live_one(release, tmp_path):
    config = read_trained_model("sample-reviews")
    common = {
        "data": config.data.model_dump_json(),
        "serving": config.serving.model_dump(),
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "training": config.training.model_dump(exclude_none=True),
    }
    first = release(config.name, "20261121030000", **common)
    assert first["metrics"]["candidate"]["macro_f1"] >= config.gate.min_macro_f1
    assert first["metrics"]["live"] is None
    assert first["archive"]["uri"] == (tmp_path / "20261121030000" / "package").as_uri()
    assert first["tracking_run_id"]
    texts = [example["text"] for example in first["golden_examples"]]
    assert not any(text in first["log"] for text in texts)

    live_uri = first["archive"]["uri"]
    shadow = captured(tmp_path, first)
    second = release(config.name, "20261122030000", live_uri=live_uri, shadow=shadow, **common)
    live = second["metrics"]["live"]
    assert live["version"] == "20261121030000"
    # The same rows, settings and seed: the same model again.
    assert live["log_loss"] == pytest.approx(second["metrics"]["candidate"]["log_loss"])
    assert second["dataset"]["sha256"] == first["dataset"]["sha256"]
    assert first["comparison"] is None
    assert second["comparison"]["macro_f1"] == {"difference": 0, "low": 0, "high": 0}
    assert second["comparison"]["disagreements"] == []
    assert (tmp_path / "20261122030000" / "evaluation" / "predictions.parquet").is_file()
    # What users have asked the first one is answered alike, and no text leaves the store.
    assert "shadow" not in first
    assert second["shadow"]["requests"] == second["shadow"]["asked_for"] == len(texts)
    assert second["shadow"]["changed"]["share"] == 0
    assert second["shadow"]["mean_probability_change"] < 0.01
    assert second["shadow"]["without_texts"] == 3
    assert f"{len(texts)} captured requests answered again" in second["log"]
    assert not any(text in second["log"] + str(second["shadow"]) for text in texts)


def captured(store: Path, live: dict[str, Any]) -> dict[str, Any]:
    """Write the golden examples of a release as requests that users have sent; return what a pipeline is told of them.

    Three more have no texts.
    """
    now = datetime.now(UTC)
    examples = live["golden_examples"] + live["golden_examples"][:3]
    kept = len(live["golden_examples"])
    write(
        store,
        [
            request(
                number,
                now - timedelta(seconds=number),
                [example["text"]],
                labels=[example["label"]],
                confidences=[max(example["probabilities"].values())],
                keep=number < kept,
                version=live["version"],
            )
            for number, example in enumerate(examples)
        ],
    )
    return {"requests": kept, "days": 7, "store_uri": store.as_uri(), "live_version": live["version"]}
