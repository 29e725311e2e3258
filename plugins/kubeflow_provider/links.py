"""Buttons on a task's page that lead to what the task made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom keys of :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`. DAGs read them: never rename.
XCOM_RUN_ID = "run_id"
XCOM_RUN_URL = "run_url"
XCOM_EXPERIMENT_URL = "experiment_url"

#: XCom key of the address that users call for predictions. The links of finished runs read it: never rename.
XCOM_ENDPOINT = "endpoint"


class _XComLink(BaseOperatorLink):
    """Leads to the address that the task left in its XCom.

    The operator is not asked: on resuming it is a fresh one that never saw what its task had made.
    """

    key: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty where there is none, or none yet."""
        return XCom.get_value(ti_key=ti_key, key=self.key) or ""


class PipelineRunLink(_XComLink):
    """Leads to the pipeline run's page, where the service has one."""

    name = "Pipeline run"
    key = XCOM_RUN_URL


class ExperimentLink(_XComLink):
    """Leads to the page of the run's experiment, where the service has one."""

    name = "Experiment"
    key = XCOM_EXPERIMENT_URL


class EndpointLink(_XComLink):
    """Leads to the address that users call for predictions."""

    name = "Endpoint"
    key = XCOM_ENDPOINT
