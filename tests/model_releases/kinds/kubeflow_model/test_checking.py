"""A finished run of another team's pipeline on a Kubeflow server: could a release take what it has made?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.pipelines.outputs import read_written
from model_releases.config import KubeflowModelConfig
from model_releases.kinds.kubeflow_model.checking import check_run
from tests.doubles.kfp_server import kfp_server
from tests.doubles.kfp_server.tasks import PIPELINE
from tests.kubeflow_provider.operators.tries import Tries
from tests.own_models import SETTINGS


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Return the document of a pipeline of another team."""
    (tmp_path / "model.skops").write_bytes(b"a model")
    rows = "".join(f"{row},{row % 3},{row % 3 if row else 1}\n" for row in range(20))
    (tmp_path / "rows.csv").write_text(f"id,label,prediction\n{rows}")
    made = {
        "schema_version": 1,
        "model": str(tmp_path / "model.skops"),
        "metrics": {"log_loss": 0.2},
        "predictions": str(tmp_path / "rows.csv"),
    }
    (tmp_path / "pipeline-model.json").write_text(json.dumps(made))
    return tmp_path / "pipeline-model.json"


@pytest.mark.parametrize("version", ["3.0.0", "2.17.0"])
def test_a_run_on_a_server_is_checked_by_its_id(
    version: str, document: Path, record_and_wait: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = [{"name": "accuracy", "from_predictions": "accuracy"}, {"name": "log_loss", "better": "lower"}]
    changes: dict[str, Any] = {
        "outputs": {"document": "handed_over", "allowed_sources": [str(tmp_path)]},
        "metrics": metrics,
        "store": (tmp_path / "store").as_uri(),
    }
    config = KubeflowModelConfig.model_validate(SETTINGS | changes)
    told = {PIPELINE: {"parameters": {"handed_over": str(document)}}}
    with kfp_server(version=version) as server:
        server.script(None, [{"state": "SUCCEEDED", "steps": [("record", "SUCCEEDED")], "outputs": told}])
        connection = json.dumps({"conn_type": "kubeflow_pipelines", "host": server.url})
        for name in ("PIPELINES_DEFAULT", "KUBEFLOW_PIPELINES_DEFAULT"):
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection)
        monkeypatch.setattr(KubeflowPipelinesHook, "settle_seconds", 0.1)
        tries = Tries()
        task = RunPipelineOperator(
            task_id="train", pipeline_file=record_and_wait, parameters={"file": "x"}, deferrable=False
        )
        run_id = task.execute(tries.context())
        written = tmp_path / "outputs.json"
        if version == "2.17.0":
            with pytest.raises(InvalidRequestError, match=r"tells of no outputs.*`outputs_uri`"):
                list(check_run(config, run_id))
            with pytest.raises(InvalidRequestError, match="OUTPUTS names none"):
                list(check_run(config, run_id, outputs_uri=str(written)))
            written.write_text(json.dumps({"artifacts": {"handed_over": str(document)}}))
            assert read_written(str(written))
        assert list(check_run(config, run_id, outputs_uri=str(written) if written.exists() else "")) == [
            "document: as its schema says",
            f"model: model.skops, 7 bytes, at file://{tmp_path}/model.skops",
            f"predictions: 20 rows, at file://{tmp_path}/rows.csv",
            "metrics: accuracy 0.95, log_loss 0.2",
            "requests: 1 to be answered, 2 to be refused, by the smoke test alone",
            "gate: good enough for a first release",
        ]
    assert not (tmp_path / "store").exists()
