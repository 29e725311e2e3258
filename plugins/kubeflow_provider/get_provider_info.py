"""What Airflow's provider manager reads: what the package holds, and its connection types with their forms."""

from __future__ import annotations

from typing import Any

_PIPELINES, _KSERVE = "Kubeflow Pipelines", "KServe"


def form_field(
    label: str, description: str, *, default: Any = None, kind: str = "string", **schema: Any
) -> dict[str, Any]:
    """Return a field of a connection's form, which may stay empty.

    :param kind: JSON type of its value.
    :param schema: what else its JSON schema says, such as ``enum``.
    """
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], "default": default, **schema},
    }


#: Of every connection to a service that may be away.
OUTAGE_SECONDS = form_field(
    "Patience with outages",
    "Seconds for which tasks wait for a service that is away, or that refuses credentials which it accepted before; "
    "default 900.",
    kind="number",
)

_KUBEFLOW_PIPELINES_FIELDS = {
    "namespace": form_field(
        "Namespace",
        "The profile that runs belong to, as at the top of Kubeflow's dashboard; needed where Kubeflow has profiles. "
        "Elsewhere the namespace of the runs' pods, for logs; may stay empty.",
    ),
    "ui_url": form_field(
        "UI address",
        "Where people open runs, for links and logs, for example http://ml-pipeline-ui.kubeflow. Empty: the address "
        "above, where that ends in /pipeline, else there are no links.",
    ),
    "dashboard": form_field(
        "Links into the dashboard",
        "Open runs inside Kubeflow's central dashboard, with its menu; the UI address must end in /pipeline.",
        kind="boolean",
        default=False,
    ),
    "pipeline_root": form_field(
        "Pipeline root", "Where runs keep artifacts, for example s3://bucket/pipelines. Empty: Kubeflow's own choice."
    ),
    "kubernetes_conn_id": form_field(
        "Kubernetes connection",
        "Id of the Airflow connection (type Kubernetes) of Kubeflow's cluster: for RunModuleOperator's pods, for logs, "
        "for the authentication kubernetes, and to say why a step's pod finds no node. Empty: this pod's own service "
        "account, else the default kubeconfig, where one is needed.",
    ),
}

#: Of every connection whose hook speaks through :class:`kubeflow_provider.http.client.HttpClient`.
HTTP_FIELDS = {
    "authentication": form_field(
        "Authentication",
        "How to log in: none (port-forward, single-user Kubeflow); bearer (token in Password); token_file; kubernetes "
        "(a service account's token); dex (user and password of a Kubeflow platform); oauth2 (an identity provider); "
        "cookie (a browser's, in Password); basic. Empty: bearer where Password is filled in, else none.",
        enum=["none", "bearer", "token_file", "kubernetes", "dex", "oauth2", "cookie", "basic"],
    ),
    "token_file": form_field(
        "Token file",
        "For token_file: path of the token where tasks and triggers run; read again when it changes. Empty: "
        "$KF_PIPELINES_SA_TOKEN_PATH, else /var/run/secrets/kubeflow/pipelines/token.",
    ),
    "service_account": form_field(
        "Service account",
        "For kubernetes: the account whose token is asked for (TokenRequest); default default-editor.",
    ),
    "service_account_namespace": form_field(
        "Its namespace", "For kubernetes: namespace of the service account. Empty: the namespace above."
    ),
    "audience": form_field(
        "Audience", "For kubernetes: whom the token is for. Empty: pipelines.kubeflow.org, which Kubeflow expects."
    ),
    "dex_connector": form_field(
        "Dex connector",
        "For dex: local (users in Dex's own list, the default) or ldap.",
        enum=["local", "ldap"],
    ),
    "token_url": form_field(
        "Token URL",
        "For oauth2: the identity provider's token endpoint, for example "
        "https://login.example.com/realms/ml/protocol/openid-connect/token.",
    ),
    "client_id": form_field(
        "Client id",
        "For oauth2 with a person's user and password: the client through which they log in. Empty: User and Password "
        "above are those of a client itself (client credentials).",
    ),
    "client_secret": form_field(
        "Client secret", "For oauth2 with Client id: the secret of that client, where it has one.", format="password"
    ),
    "scope": form_field("Scope", "For oauth2: scopes to ask for, separated by spaces."),
    "user_id_header": form_field(
        "User-id header",
        "Header in which a gateway would tell Kubeflow who is asking; default kubeflow-userid. For User id only.",
    ),
    "user_id": form_field(
        "User id",
        "For a port-forward past the gateway only: the user, for example user@example.com, to be sent in that header. "
        "Leave empty behind a gateway, which sets the header itself.",
    ),
    "verify": form_field(
        "Verify certificate",
        "Whether the server must show a certificate of a known authority. Switch off only to try something out.",
        kind="boolean",
        default=True,
    ),
    "ca_bundle": form_field(
        "CA bundle", "Path of a PEM file, or a folder, with the authorities to trust. Empty: the usual ones."
    ),
    "client_certificate": form_field(
        "Client certificate", "Path of a PEM file, where the server wants to see one (mutual TLS)."
    ),
    "client_key": form_field(
        "Client key", "Path of the certificate's private key, PEM, without a password; empty where that file holds it."
    ),
    "proxy": form_field(
        "Proxy", "URL of an HTTP proxy, for example http://proxy.example.com:3128. Empty: the environment's."
    ),
    "connect_timeout_seconds": form_field(
        "Connect timeout", "Longest wait for a connection, in seconds; default 10.", kind="number"
    ),
    "read_timeout_seconds": form_field(
        "Read timeout", "Longest wait for the next piece of an answer, in seconds; default 60.", kind="number"
    ),
    "outage_seconds": OUTAGE_SECONDS,
}

_KSERVE_FIELDS = {
    "namespace": form_field("Namespace", "Where the InferenceServices are. Needed."),
    "kubernetes_conn_id": form_field(
        "Kubernetes connection",
        "Id of the Airflow connection (type Kubernetes) of the cluster. Empty: this pod's own service account, else "
        "the default kubeconfig.",
    ),
    "door": form_field(
        "Door for predictions",
        "How predictions reach a service: cluster_local (the default; Airflow runs in the cluster); gateway (the "
        "address above, with the service's Host header); path (the address above, with a path); service_proxy (through "
        "the Kubernetes API).",
        enum=["cluster_local", "gateway", "path", "service_proxy"],
    ),
    "path_template": form_field(
        "Path template", "For path: KServe's own pathTemplate; default /serving/{namespace}/{name}."
    ),
    "system_namespace": form_field(
        "KServe's namespace", "Where KServe itself is installed. Empty: kserve, else kubeflow."
    ),
    "unschedulable_seconds": form_field(
        "Patience for nodes",
        "Seconds that a pod may wait for a node, which an autoscaler may have to start; default 600.",
        kind="number",
    ),
}

#: Labels of Airflow's own fields, for both types, and what stands in them while they are empty: there is room for a few
#: words each.
_RELABELING = {"login": "User or client id", "password": "Password or token", "schema": "Scheme"}
_PLACEHOLDERS = {
    "login": "For dex, oauth2 and basic",
    "password": "Or the cookie, or the client's secret",
    "port": "Where the address has none",
    "schema": "Where the address has none: http or https",
}


def _modules(integration: str, package: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": integration,
        "python-modules": [f"kubeflow_provider.{package}.{name}" for name in names],
    }


def _page(name: str) -> str:
    return f"/docs/airflow-provider-kubeflow/operators/{name}.md"


def _connection_type(
    conn_type: str, hook: str, *, address: str, placeholder: str, fields: dict[str, Any], name: str
) -> dict[str, Any]:
    return {
        "connection-type": conn_type,
        "hook-class-name": f"kubeflow_provider.hooks.{hook}",
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": ["extra"],
            "relabeling": {"host": address, **_RELABELING},
            "placeholders": {"host": placeholder, **_PLACEHOLDERS},
        },
        "conn-fields": fields | HTTP_FIELDS,
    }


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider.yaml``.

    A test compares the lists with the modules that there are.
    """
    return {
        "package-name": "airflow-provider-kubeflow",
        "name": "Kubeflow",
        "description": "Run Kubeflow pipelines, and serve models with KServe.",
        "versions": ["0.1.0"],
        "task-decorators": [
            {
                "name": "kubeflow_pipeline",
                "class-name": "kubeflow_provider.decorators.kubeflow_pipeline.kubeflow_pipeline_task",
            }
        ],
        "integrations": [
            {
                "integration-name": _PIPELINES,
                "external-doc-url": "https://www.kubeflow.org/docs/components/pipelines/",
                "how-to-guide": [
                    f"/docs/airflow-provider-kubeflow/operators/{page}.md"
                    for page in ("decorator", "kept-runs", "modules", "recurring-runs", "run-pipeline", "sensors")
                ],
                "tags": ["software", "machine-learning"],
            },
            {
                "integration-name": _KSERVE,
                "external-doc-url": "https://kserve.github.io/website/",
                "how-to-guide": [_page("inference-services")],
                "tags": ["software", "ai-inference"],
            },
        ],
        "operators": [
            _modules(_PIPELINES, "operators", "cancel", "kept_runs", "modules", "pipelines", "recurring_runs"),
            _modules(_KSERVE, "operators", "inference_services"),
        ],
        "sensors": [_modules(_PIPELINES, "sensors", "pipelines"), _modules(_KSERVE, "sensors", "inference_services")],
        "hooks": [_modules(_PIPELINES, "hooks", "kubeflow_pipelines"), _modules(_KSERVE, "hooks", "kserve")],
        "triggers": [
            _modules(_PIPELINES, "triggers", "modules", "pipelines"),
            _modules(_KSERVE, "triggers", "deployments", "inference_services"),
        ],
        "extra-links": [
            f"kubeflow_provider.links.{link}" for link in ("PipelineRunLink", "ExperimentLink", "RecurringRunLink")
        ],
        "connection-types": [
            _connection_type(
                "kubeflow_pipelines",
                "kubeflow_pipelines.KubeflowPipelinesHook",
                name=_PIPELINES,
                address="API address",
                placeholder="https://kubeflow.example.com/pipeline",
                fields=_KUBEFLOW_PIPELINES_FIELDS,
            ),
            _connection_type(
                "kserve",
                "kserve.KServeHook",
                name=_KSERVE,
                address="Gateway address",
                placeholder="https://kubeflow.example.com, for gateway and path",
                fields=_KSERVE_FIELDS,
            ),
        ],
    }
