"""What the tasks for Kubeflow Pipelines itself have in common."""

from __future__ import annotations

from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.operators._base import ServiceOperator


class KubeflowTask(ServiceOperator):
    """A task for Kubeflow Pipelines itself: other pipeline services keep nothing.

    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    def __init__(self, *, pipelines_conn_id: str = "kubeflow_pipelines_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipelines_conn_id = pipelines_conn_id

    def hook(self) -> KubeflowPipelinesHook:
        """Return the hook of the connection.

        :raises InvalidRequestError: when that is of another type.
        """
        service = get_pipeline_service(self.pipelines_conn_id)
        if not isinstance(service, KubeflowPipelinesHook):
            raise InvalidRequestError(
                f"Connection {self.pipelines_conn_id!r} is no kubeflow_pipelines: {type(self).__name__} needs one."
            )
        return service
