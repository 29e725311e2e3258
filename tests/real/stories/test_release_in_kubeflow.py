"""A release wholly in Kubeflow: uploaded by the script, started over REST, asked by its own last step and from here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import RunRequest
from kubeflow_provider.states import RunState
from tests.kserve_support import NAMESPACE, forget_model, real_kserve

ROOT = Path(__file__).parents[3]
PIPELINE = ROOT / "include" / "pipelines" / "release_in_kubeflow.yaml"
pytestmark = pytest.mark.skipif(not os.environ.get("RELEASE_STORE_URI"), reason="RELEASE_STORE_URI is not set")


@pytest.mark.timeout(3600)
def test_a_release_goes_live_without_airflow() -> None:
    environ, model = os.environ, f"try-{uuid4().hex[:8]}"
    uploaded = subprocess.run(
        [sys.executable, "scripts/upload_pipeline.py"],
        cwd=ROOT,
        env={**environ, "IMAGE": environ["KFP_IMAGE"]},
        capture_output=True,
        text=True,
    )
    assert uploaded.returncode == 0, uploaded.stderr
    connection = Connection(
        conn_id="pipelines",
        conn_type="kubeflow_pipelines",
        host=environ["KFP_ENDPOINT"],
        password=environ.get("KFP_TOKEN"),
        extra=json.dumps({"namespace": environ.get("KFP_NAMESPACE", "")}),
    )
    hook = KubeflowPipelinesHook("pipelines", connection=connection)
    parameters = {
        "image": environ["KFP_IMAGE"],
        "model_name": model,
        "namespace": environ.get("KSERVE_NAMESPACE", NAMESPACE),
        "store_uri": environ["RELEASE_STORE_URI"],
        "tracking_uri": environ["RELEASE_TRACKING_URI"],
        "volume": environ["RELEASE_VOLUME"],
        "min_macro_f1": 0.0,
    }
    request = RunRequest(
        run_id=str(uuid4()),
        pipeline_file=str(PIPELINE),
        parameters=bind(str(PIPELINE), parameters),
        display_name=f"a try of {model}",
        experiment="tries",
    )
    serving, _ = real_kserve()
    began = time.monotonic()
    try:
        hook.create_run(request)
        while not (run := hook.get_run(request.run_id)) or not run.state.is_terminal:
            time.sleep(2)
        assert run.state is RunState.SUCCEEDED, f"{run.reason}\n{hook.get_run_log(request.run_id)}"
        answer = serving.predict(model, json.dumps({"instances": ["a wonderful place"]}).encode())
        assert (answer.status_code, len(answer.body["predictions"])) == (200, 1)
    finally:
        hook.terminate_run(request.run_id)
        forget_model(serving, model)
    print(f"note: {len(run.steps)} steps in {time.monotonic() - began:.0f} s")
