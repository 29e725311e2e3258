"""Buttons on a task's page that lead to what the task made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom keys of :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`. DAGs read them: never rename.
XCOM_RUN_ID = "run_id"
XCOM_RUN_URL = "run_url"

#: XCom key of the address that users call for predictions. The links of finished runs read it: never rename.
XCOM_ENDPOINT = "endpoint"


class PipelineRunLink(BaseOperatorLink):
    """Leads to the pipeline run's page, where the service has one."""

    name = "Pipeline run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left in its XCom, or an empty string.

        The operator is not asked: on resuming it is a fresh one that never saw the run.
        """
        return XCom.get_value(ti_key=ti_key, key=XCOM_RUN_URL) or ""


class EndpointLink(BaseOperatorLink):
    """Leads to the address that users call for predictions."""

    name = "Endpoint"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty before the task has found it out."""
        return XCom.get_value(ti_key=ti_key, key=XCOM_ENDPOINT) or ""
