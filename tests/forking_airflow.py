"""``python -m airflow``, with imports made that its forks would make anew: each task, each reading of a DAG file.

They are what the DAGs of ``tests/end_to_end/running_airflow`` import. Where the provider is installed alone, the rest
is passed over.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from airflow.__main__ import main

MODULES = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.providers.standard.operators.empty",
    "kubeflow_provider.operators.cancel",
    "kubeflow_provider.operators.pipelines",
    "kubeflow_provider.hooks.kubeflow_pipelines",
    "local_services.pipelines.hook",
    "model_releases.alerts.deadlines",
    "model_releases.exceptions",
    "model_releases.operators.approval",
    "model_releases.operators.pre_execute.schedule_limits",
    "model_releases.operators.registry",
    "model_releases.operators.report",
    "model_releases.registry.model_registry",
)

if __name__ == "__main__":
    for name in MODULES:
        with suppress(ImportError):
            import_module(name)
    sys.exit(main())
