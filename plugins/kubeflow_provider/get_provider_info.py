"""What Airflow's provider manager reads: connection types with their forms, operators and links."""

from __future__ import annotations

from typing import Any


def form_field(
    label: str, description: str, *, default: Any = None, kind: str = "string", **schema: Any
) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], "default": default, **schema},
    }


#: Of every connection to a service that may be away.
OUTAGE_SECONDS = form_field(
    "Patience with outages",
    "Seconds for which tasks wait for a service that is away, or refuses credentials that it accepted before; default "
    "900.",
    kind="number",
)

_KUBEFLOW_PIPELINES_FIELDS = {
    "namespace": form_field(
        "Namespace", "Profile that runs belong to; needed where Kubeflow has several. Also where logs and pods are."
    ),
    "ui_url": form_field(
        "UI address", "For links and logs, for example http://ml-pipeline-ui.kubeflow; default: a host in /pipeline."
    ),
    "dashboard": form_field(
        "Links into the dashboard", "Open runs inside Kubeflow's central dashboard.", kind="boolean", default=False
    ),
    "pipeline_root": form_field("Pipeline root", "Where Kubeflow keeps artifacts, for example s3://bucket/pipelines."),
    "kubernetes_conn_id": form_field(
        "Kubernetes connection", "Airflow connection of the cluster: for pods of modules, logs, and TokenRequest."
    ),
}

_HTTP_FIELDS = {
    "authentication": form_field(
        "Authentication",
        "How to prove who is asking; default: bearer where a password is given, else none.",
        enum=["none", "bearer", "token_file", "kubernetes", "dex", "oauth2", "cookie", "basic"],
    ),
    "token_file": form_field("Token file", "token_file: path of the token, read again when it changes."),
    "service_account": form_field("Service account", "kubernetes: whose token is asked for (TokenRequest)."),
    "service_account_namespace": form_field("Its namespace", "kubernetes: namespace of the service account."),
    "audience": form_field("Audience", "kubernetes: audience of the token, for example pipelines.kubeflow.org."),
    "dex_connector": form_field("Dex connector", "dex: local (static users) or ldap.", enum=["local", "ldap"]),
    "token_url": form_field("Token URL", "oauth2: the identity provider's token endpoint."),
    "client_id": form_field("Client id", "oauth2 with a user's login and password: the client they log in through."),
    "client_secret": form_field("Client secret", "oauth2: secret of that client, where it has one.", format="password"),
    "scope": form_field("Scope", "oauth2: scopes to ask for, separated by spaces."),
    "user_id_header": form_field("User-id header", "Header that carries the user id past a gateway: kubeflow-userid."),
    "user_id": form_field("User id", "Sent in that header; for a port-forward behind the gateway only."),
    "verify": form_field("Verify certificate", "Switch off only to try something out.", kind="boolean", default=True),
    "ca_bundle": form_field("CA bundle", "Path of the authorities to trust, PEM."),
    "client_certificate": form_field("Client certificate", "Path, PEM."),
    "client_key": form_field("Client key", "Path, PEM, without a password."),
    "proxy": form_field("Proxy", "URL of an HTTP proxy; default: the environment's."),
    "connect_timeout_seconds": form_field("Connect timeout", "Seconds; default 10.", kind="number"),
    "read_timeout_seconds": form_field("Read timeout", "Seconds; default 60.", kind="number"),
    "outage_seconds": OUTAGE_SECONDS,
}

_KSERVE_FIELDS = {
    "namespace": form_field("Namespace", "Where the InferenceServices are."),
    "kubernetes_conn_id": form_field(
        "Kubernetes connection",
        "Airflow connection of the cluster; empty: this pod's own service account, else the default kubeconfig.",
    ),
    "door": form_field(
        "Door for predictions",
        "cluster_local: Airflow runs in the cluster; gateway: address above, with the service's Host; path: address "
        "above, with a path; service_proxy: through the Kubernetes API.",
        enum=["cluster_local", "gateway", "path", "service_proxy"],
    ),
    "path_template": form_field("Path template", "path: KServe's pathTemplate; default /serving/{namespace}/{name}."),
    "system_namespace": form_field("KServe's namespace", "Where KServe is installed; default kserve, else kubeflow."),
    "unschedulable_seconds": form_field(
        "Patience for nodes", "Seconds that a pod may wait for a node; default 600.", kind="number"
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-provider-kubeflow",
        "name": "Kubeflow",
        "description": "Run Kubeflow pipelines, and serve models with KServe.",
        "versions": ["0.1.0"],
        "connection-types": [
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
        ],
    }
