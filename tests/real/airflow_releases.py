"""Two releases by the project's own DAGs, and the first put back, while somebody asks all the time.

Airflow gets a home of its own for it. Everything else is as whoever runs it has set it: the connections
``AIRFLOW_CONN_PIPELINES_DEFAULT``, ``…_SERVING_DEFAULT``, ``…_REGISTRY_DEFAULT`` (and those that they name), the models
(``MODELS_DIR``), and ``RELEASE_MODEL``, the one to release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AIRFLOW = Path(sys.executable).with_name("airflow")


def main() -> None:
    """Release twice, put back, and tell how many requests failed meanwhile.

    :raises SystemExit: when a step or a request failed.
    """
    model = os.environ["RELEASE_MODEL"]
    with tempfile.TemporaryDirectory(prefix="airflow-home-", ignore_cleanup_errors=True) as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        _airflow("db", "migrate")
        _airflow("dags", "test", f"release_{model.replace('-', '_')}")

        # Not before: the settings are read when Airflow is imported.
        from kubeflow_provider.hooks.kserve import KServeHook
        from tests.kserve_support import Users

        hook = KServeHook("serving_default")
        first = _live(hook, model)
        with Users(hook, model) as users:
            _airflow("dags", "test", f"release_{model.replace('-', '_')}", "--conf", json.dumps({"seed": 7}))
            second = _live(hook, model)
            _airflow("dags", "test", f"roll_back_{model.replace('-', '_')}", "--conf", '{"reason": "a try"}')
            back = _live(hook, model)
    failed = {answer: count for answer, count in users.answers.items() if answer != "good"}
    print(f"note: {users.answers.total()} requests, {sum(failed.values())} failed; {first}, {second}, back to {back}")
    if failed or first == second or back != first:
        sys.exit(f"requests that failed: {failed}; live were {first}, {second}, {back}")


def _airflow(*arguments: str) -> None:
    command = [str(AIRFLOW), *arguments]
    print(f"airflow {' '.join(arguments)}", flush=True)
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(answer.stdout, flush=True)
    if answer.returncode:
        sys.exit(f"airflow {' '.join(arguments)} ended with {answer.returncode}")


def _live(hook: Any, model: str) -> str:
    deployment = hook.get_live(model)
    if deployment is None:
        sys.exit(f"No version of {model} is live: the release was rejected or failed.")
    return str(deployment.version)


if __name__ == "__main__":
    main()
