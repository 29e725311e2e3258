"""What the page has to know of each model, and of the DAG that puts releases back."""

from __future__ import annotations

from dataclasses import dataclass

#: Where the plugin mounts the application; Airflow's own pages are beside it.
URL_PREFIX = "/releases"

#: Where a pipeline puts the report, in the version's folder.
REPORT_PATH = ("report", "report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageModel:
    """A model on the page.

    :param name: as in the registry and the serving system.
    :param release_dag_id: DAG that releases it; who may read that DAG may see the model.
    :param store_uri: folder of the model in the model store, with a folder for each version.
    :param description: one line for people.
    :param serving_conn_id: connection to the serving system.
    :param registry_conn_id: connection to the registry.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    """

    name: str
    release_dag_id: str
    store_uri: str
    description: str = ""
    serving_conn_id: str = "serving_default"
    registry_conn_id: str = "registry_default"
    store_conn_id: str | None = None

    def report_uri(self, version: str) -> str:
        """Return where a version's report lies in the store."""
        return "/".join((self.store_uri, version, *REPORT_PATH))
