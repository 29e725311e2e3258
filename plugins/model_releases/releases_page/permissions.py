"""What the user may see and do, as Airflow's auth manager decides it, whichever that is."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel


class Permissions:
    """The rights of one user.

    :param user: as ``GetUserDep`` gives it.
    """

    def __init__(self, user: Any) -> None:
        self._user = user

    def can_read(self, dag_id: str) -> bool:
        """Tell whether the user may read a DAG and its runs."""
        return self._is_authorized("GET", dag_id, None) and self._is_authorized("GET", dag_id, DagAccessEntity.RUN)

    def can_trigger(self, dag_id: str) -> bool:
        """Tell whether the user may start a run of a DAG."""
        return self._is_authorized("POST", dag_id, DagAccessEntity.RUN)

    def _is_authorized(self, method: Any, dag_id: str, entity: DagAccessEntity | None) -> bool:
        details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
        return get_auth_manager().is_authorized_dag(
            method=method, access_entity=entity, details=details, user=self._user
        )
