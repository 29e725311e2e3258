"""`make upload` brings the pipeline into Kubeflow once, however often it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.doubles.kfp_server import kfp_server

ROOT = Path(__file__).parents[2]


def upload(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "upload_pipeline.py"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


@pytest.mark.pipelines
@pytest.mark.usefixtures("pipelines_python")
def test_the_same_pipeline_is_one_version_and_another_image_is_another() -> None:
    with kfp_server(multi_user=True, token="secret-token", prefix="/pipeline") as server:
        settings = {"KFP_ENDPOINT": server.url, "KFP_TOKEN": "secret-token", "KFP_NAMESPACE": "team"}
        answers = [upload(**settings) for _ in range(2)]
        versions = dict(server.api.versions)
        other = upload(IMAGE="registry.example.com/ours:2", **settings)
        added = [row for key, row in server.api.versions.items() if key not in versions]

    assert [answer.returncode for answer in (*answers, other)] == [0, 0, 0], answers[0].stderr + other.stderr
    assert answers[0].stdout.endswith(answers[1].stdout), "the first one also says that it uploads"
    assert "release-in-kubeflow is in Kubeflow as version release-in-kubeflow-" in answers[0].stdout
    ((version_id, row),) = versions.items()
    assert f"/pipeline/#/pipelines/details/{row['pipeline_id']}/version/{version_id}" in answers[0].stdout
    (document, _) = added[0]["_documents"]
    assert document["root"]["inputDefinitions"]["parameters"]["image"]["defaultValue"] == "registry.example.com/ours:2"
    committed = (ROOT / "include" / "pipelines" / "release_in_kubeflow.yaml").read_text(encoding="utf-8")
    assert row["_documents"] == list(yaml.safe_load_all(committed))


@pytest.mark.pipelines
@pytest.mark.usefixtures("pipelines_python")
def test_what_is_wrong_is_said_without_a_traceback_or_a_secret() -> None:
    with kfp_server(token="secret-token") as server:
        answers = [
            upload(),
            upload(KFP_ENDPOINT=server.url, KFP_TOKEN="wrong-token"),
            upload(AIRFLOW_CONN_PIPELINES_DEFAULT=json.dumps({"conn_type": "local_pipelines"})),
            upload(KFP_ENDPOINT=server.url, PIPELINE="unknown"),
        ]
    words = ["Set KFP_ENDPOINT", "401", "it must be kubeflow_pipelines", "PIPELINE=unknown cannot be compiled"]
    for answer, word in zip(answers, words, strict=True):
        assert answer.returncode == 1
        assert word in answer.stderr
        assert "Traceback" not in answer.stderr
        assert "wrong-token" not in answer.stdout + answer.stderr
