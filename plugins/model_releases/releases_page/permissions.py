"""What the user may see and do, as Airflow's auth manager decides it, whichever that is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel


class Permissions:
    """The rights of one user, for one request: each is asked for once, and the teams of all DAGs together.

    :param user: as ``GetUserDep`` gives it.
    :param dag_ids: the DAGs that the request may be about.
    """

    def __init__(self, user: Any, dag_ids: Iterable[str]) -> None:
        self._user = user
        self._dag_ids = dag_ids
        self._known: dict[tuple[Any, str, DagAccessEntity | None], bool] = {}

    def can_read(self, dag_id: str) -> bool:
        """Tell whether the user may read a DAG and its runs."""
        return self._may("GET", dag_id, None) and self._may("GET", dag_id, DagAccessEntity.RUN)

    def can_trigger(self, dag_id: str) -> bool:
        """Tell whether the user may start a run of a DAG."""
        return self._may("POST", dag_id, DagAccessEntity.RUN)

    def _may(self, method: Any, dag_id: str, entity: DagAccessEntity | None) -> bool:
        key = (method, dag_id, entity)
        if key not in self._known:
            self._known[key] = self._is_authorized(*key)
        return self._known[key]

    def _is_authorized(self, method: Any, dag_id: str, entity: DagAccessEntity | None) -> bool:
        details = DagDetails(id=dag_id, team_name=self._teams.get(dag_id))
        return get_auth_manager().is_authorized_dag(
            method=method, access_entity=entity, details=details, user=self._user
        )

    @cached_property
    def _teams(self) -> dict[str, str | None]:
        return DagModel.get_dag_id_to_team_name_mapping(list(self._dag_ids))
