"""`make upload` brings the pipeline into Kubeflow once, however often it is called."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.doubles.kfp_server import kfp_server

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "upload_pipeline.py"


class Answer(NamedTuple):
    """What a person sees of a call."""

    output: str
    error: str


@pytest.fixture
def upload(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return ``upload(**environment)``, which calls the script in this process: Airflow's import takes seconds."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("upload_pipeline", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def call(**environment: str) -> Answer:
        refusal = ""
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            try:
                script.main()
            except SystemExit as ended:
                refusal = str(ended.code)
        output, error = capsys.readouterr()
        return Answer(output, error + refusal)

    return call


@pytest.mark.long  # what an upload does is told by tests/kubeflow_provider
@pytest.mark.pipelines
@pytest.mark.usefixtures("pipelines_python")
def test_the_same_pipeline_is_one_version_and_another_image_is_another(upload: Callable[..., Answer]) -> None:
    with kfp_server(multi_user=True, token="secret-token", prefix="/pipeline") as server:
        settings = {"KFP_ENDPOINT": server.url, "KFP_TOKEN": "secret-token", "KFP_NAMESPACE": "team"}
        called = subprocess.run([sys.executable, SCRIPT], env=os.environ | settings, capture_output=True, text=True)
        answers = [Answer(called.stdout, called.stderr), upload(**settings)]
        versions = dict(server.api.versions)
        other = upload(IMAGE="registry.example.com/ours:2", **settings)
        added = [row for key, row in server.api.versions.items() if key not in versions]

    assert (called.returncode, answers[1].error, other.error) == (0, "", ""), called.stderr
    assert answers[0].output.endswith(answers[1].output), "the first one also says that it uploads"
    assert "release-in-kubeflow is in Kubeflow as version release-in-kubeflow-" in answers[0].output
    ((version_id, row),) = versions.items()
    assert f"/pipeline/#/pipelines/details/{row['pipeline_id']}/version/{version_id}" in answers[0].output
    (document, _) = added[0]["_documents"]
    assert document["root"]["inputDefinitions"]["parameters"]["image"]["defaultValue"] == "registry.example.com/ours:2"
    committed = (ROOT / "include" / "pipelines" / "release_in_kubeflow.yaml").read_text(encoding="utf-8")
    assert row["_documents"] == list(yaml.safe_load_all(committed))


@pytest.mark.long
@pytest.mark.pipelines
@pytest.mark.usefixtures("pipelines_python")
def test_what_is_wrong_is_said_without_a_traceback_or_a_secret(upload: Callable[..., Answer]) -> None:
    with kfp_server(token="secret-token") as server:
        answers = [
            upload(),
            upload(KFP_ENDPOINT=server.url, KFP_TOKEN="wrong-token"),
            upload(AIRFLOW_CONN_PIPELINES_DEFAULT=json.dumps({"conn_type": "local_pipelines"})),
            upload(KFP_ENDPOINT=server.url, PIPELINE="unknown"),
        ]
    words = ["Set KFP_ENDPOINT", "401", "it must be kubeflow_pipelines", "PIPELINE=unknown cannot be compiled"]
    for answer, word in zip(answers, words, strict=True):
        assert word in answer.error
        assert "Traceback" not in answer.error
        assert "wrong-token" not in answer.output + answer.error
