"""What a connection of type ``kubeflow_pipelines`` says beyond how to reach the server and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.http.settings import HttpSettings

#: Path under which a Kubeflow platform's gateway shows Kubeflow Pipelines, API and UI alike.
_PLATFORM_PATH = "/pipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinesSettings:
    """Where runs belong and where people look at them.

    :param namespace: profile that runs belong to, or the namespace of their pods in a single-user Kubeflow.
    :param ui_url: address of the UI without a slash at its end, empty when nobody told.
    :param dashboard: whether links lead into the frame of the central dashboard.
    :param pipeline_root: where Kubeflow keeps artifacts, ``None`` for the server's own choice.
    :param kubernetes_conn_id: Airflow connection of the cluster, for logs and modules' pods.
    """

    namespace: str | None = None
    ui_url: str = ""
    dashboard: bool = False
    pipeline_root: str | None = None
    kubernetes_conn_id: str | None = None

    @classmethod
    def read(cls, fields: ConnectionFields, http: HttpSettings) -> PipelinesSettings:
        """Read the fields; what is wrong with them is left in ``fields.problems``."""
        ui_url = fields.text("ui_url").rstrip("/")
        if ui_url and not _is_page(ui_url):
            fields.problems.append(
                "ui_url: the full address is needed, without user and query, for example "
                "https://kubeflow.example.com/pipeline"
            )
        if not ui_url and urlsplit(http.base_url).path == _PLATFORM_PATH:
            ui_url = http.base_url
        dashboard = fields.flag("dashboard", False)
        if dashboard and ui_url and not (_is_page(ui_url) and urlsplit(ui_url).path == _PLATFORM_PATH):
            fields.problems.append(f"dashboard: needs an address of the UI that ends in {_PLATFORM_PATH}")
        return cls(
            namespace=fields.text("namespace") or None,
            ui_url=ui_url,
            dashboard=dashboard,
            pipeline_root=fields.text("pipeline_root") or None,
            kubernetes_conn_id=fields.text("kubernetes_conn_id") or None,
        )

    def run_url(self, run_id: str) -> str | None:
        """Return the run's page, ``None`` when the address of the UI is unknown."""
        return self._page(f"/runs/details/{quote(run_id)}")

    def recurring_run_url(self, recurring_run_id: str) -> str | None:
        """Return the recurring run's page, ``None`` when the address of the UI is unknown."""
        return self._page(f"/recurringrun/details/{quote(recurring_run_id)}")

    def experiment_url(self, experiment_id: str) -> str | None:
        """Return the experiment's page, ``None`` when it, or the address of the UI, is unknown."""
        return self._page(f"/experiments/details/{quote(experiment_id)}") if experiment_id else None

    def _page(self, path: str) -> str | None:
        if not self.ui_url:
            return None
        if not self.dashboard:
            return f"{self.ui_url}/#{path}"
        gateway = self.ui_url.removesuffix(_PLATFORM_PATH)
        return f"{gateway}/_{_PLATFORM_PATH}/?ns={quote(self.namespace or '')}#{path}"


def _is_page(address: str) -> bool:
    """Tell whether it is the address of a page; links to it, which many see, must hold no password."""
    try:
        parts = urlsplit(address)
    except ValueError:  # its words would quote the address
        return False
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and not parts.query
