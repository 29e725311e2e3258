"""Uploads a pipeline to Kubeflow, as a version named after what it holds: `make upload`.

The server and the login come from the Airflow connection ``pipelines_default`` (``AIRFLOW_CONN_PIPELINES_DEFAULT``), or
from ``KFP_ENDPOINT``, ``KFP_TOKEN`` and ``KFP_NAMESPACE``. The pipeline is compiled for this upload: ``IMAGE`` is the
default of its parameter ``image``, ``RELEASE_STORAGE=object-store`` leaves the volume out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environment import PIPELINES_PYTHON, PROJECT
from terminal import fit_terminal

if TYPE_CHECKING:
    from airflow.sdk import Connection

_COMPILE = "import sys; from include.pipelines.compile import compiled; print(compiled(sys.argv[1]), end='')"


def compiled(name: str, *, image: str) -> str:
    """Return the IR of a pipeline of this project, compiled in the pipeline half's environment."""
    answer = subprocess.run(
        [PIPELINES_PYTHON, "-c", _COMPILE, name],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "TRAINING_IMAGE": image},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        sys.exit(f"PIPELINE={name} cannot be compiled: {answer.stderr.strip().splitlines()[-1]}")
    return answer.stdout


def connection() -> Connection:
    """Return how to reach Kubeflow.

    :raises SystemExit: when nothing says so.
    """
    from airflow.sdk import BaseHook, Connection

    if endpoint := os.environ.get("KFP_ENDPOINT"):
        return Connection(
            conn_id="KFP_ENDPOINT",
            conn_type="kubeflow_pipelines",
            host=endpoint,
            password=os.environ.get("KFP_TOKEN"),
            extra=json.dumps({"namespace": os.environ.get("KFP_NAMESPACE", "")}),
        )
    if not os.environ.get("AIRFLOW_CONN_PIPELINES_DEFAULT"):
        sys.exit("Set KFP_ENDPOINT (and KFP_TOKEN, KFP_NAMESPACE), or AIRFLOW_CONN_PIPELINES_DEFAULT.")
    found: Connection = BaseHook.get_connection("pipelines_default")
    if found.conn_type != "kubeflow_pipelines":
        sys.exit(f"pipelines_default is of type {found.conn_type}; to upload, it must be kubeflow_pipelines.")
    return found


def main() -> None:
    """Upload the pipeline that ``PIPELINE`` names."""
    fit_terminal()
    name = os.environ.get("PIPELINE") or "release_in_kubeflow"
    where = connection()

    from kubeflow_provider.exceptions import KubeflowProviderError
    from kubeflow_provider.hooks._kubeflow_pipelines.kept.versions import version_name
    from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
    from kubeflow_provider.pipelines.reading import read_pipeline_spec

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        path.write_text(compiled(name, image=os.environ.get("IMAGE") or "kubeflow-model-release:0.1.0"))
        spec = read_pipeline_spec(path)
    try:
        hook = KubeflowPipelinesHook(where.conn_id, connection=where)
        reference = hook.upload_pipeline(spec)
    except KubeflowProviderError as error:
        sys.exit(str(error))
    print(f"{spec.name} is in Kubeflow as version {version_name(spec)}.")
    if hook.settings.ui_url:
        ids = (reference["pipeline_id"], reference["pipeline_version_id"])
        print(f"{hook.settings.ui_url}/#/pipelines/details/{ids[0]}/version/{ids[1]}")


if __name__ == "__main__":
    main()
