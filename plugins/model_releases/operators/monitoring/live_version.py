"""Finds the version whose requests are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.hooks import get_serving_service
from model_releases.memory.live import find_live
from model_releases.registry import get_registry_service
from model_releases.versions import version_time

if TYPE_CHECKING:
    from airflow.sdk import Context


class FindLiveOperator(BaseOperator):
    """Return the live version of a model and since when it is: ``{"version": …, "since": …}``.

    A registry that does not know since when is no reason to stop: the time of the version stands in.

    :param model: name of the model.
    :param serving_conn_id: connection to the serving system.
    :param registry_conn_id: connection to the registry.
    :raises AirflowSkipException: when nothing is live.
    """

    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        model: str,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Ask for it."""
        registry = get_registry_service(self.registry_conn_id)
        live = find_live(get_serving_service(self.serving_conn_id), registry, self.model)
        if live is None:
            raise AirflowSkipException(f"Nothing of {self.model} is live yet.")
        release = registry.get_release(self.model, live.version)
        since = release.times.get(ReleaseState.LIVE, "") if release else ""
        made = version_time(live.version)
        self.log.info("%s: live is %s, since %s.", self.model, live.version, since or made)
        return {"version": live.version, "since": since or (made.isoformat() if made else "")}
