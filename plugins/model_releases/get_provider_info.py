"""What Airflow's provider manager reads of this package: its connection types with their forms."""

from __future__ import annotations

from typing import Any

from kubeflow_provider.get_provider_info import HTTP_FIELDS, OUTAGE_SECONDS, form_field

_MODEL_REGISTRY_FIELDS = {
    "ui_url": form_field(
        "Address of its pages",
        "For links: the registry in Kubeflow's UI, or a page's address with {model_id} and {version_id} in it.",
    ),
    "tracking_uri": form_field(
        "MLflow for metrics",
        "Where trainings write their metrics: `sqlite:////absolute/path.db` or a server's URL; empty: nowhere.",
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Return the package's metadata in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-model-releases",
        "name": "Model releases",
        "description": "Release models safely: from candidate to live and back.",
        "versions": ["0.1.0"],
        "connection-types": [
            {
                "connection-type": "mlflow",
                "hook-class-name": "model_releases.registry.mlflow.MlflowHook",
                "hook-name": "MLflow",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "port", "extra"],
                    "relabeling": {"login": "User (server only)", "password": "Password (server only)"},
                    "placeholders": {},
                },
                "conn-fields": {
                    "tracking_uri": form_field("Tracking URI", "`sqlite:////absolute/path.db` or the server's URL."),
                    "token": form_field("Token", "Bearer token for a server.", format="password"),
                    "outage_seconds": OUTAGE_SECONDS,
                },
            },
            {
                "connection-type": "kubeflow_model_registry",
                "hook-class-name": "model_releases.registry.model_registry.ModelRegistryHook",
                "hook-name": "Kubeflow Model Registry",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {
                        "host": "Registry's address",
                        "login": "User or client id",
                        "password": "Password or token",
                    },
                    "placeholders": {
                        "host": "http://model-registry-service.kubeflow.svc.cluster.local:8080",
                        "password": "Or the cookie, or the client's secret",
                    },
                },
                "conn-fields": _MODEL_REGISTRY_FIELDS | HTTP_FIELDS,
            },
        ],
    }
