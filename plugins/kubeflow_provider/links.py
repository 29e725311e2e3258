"""Buttons on a task's page that lead to what the task made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from kubeflow_provider.compat import XCom, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


#: XCom keys of :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`. DAGs read them: never rename.
XCOM_RUN_ID = "run_id"
XCOM_RUN_URL = "run_url"
XCOM_EXPERIMENT_URL = "experiment_url"
#: See :mod:`kubeflow_provider.run_outputs`.
XCOM_OUTPUTS = "outputs"
#: Of :class:`~kubeflow_provider.operators.recurring_runs.CreateRecurringRunOperator`.
XCOM_RECURRING_RUN_URL = "recurring_run_url"


class XComLink(BaseOperatorLink):
    """Leads to the address that the task left in its XCom.

    The operator is not asked: on resuming it is a fresh one that never saw what its task had made.
    """

    key: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty where there is none, or none yet."""
        return XCom.get_value(ti_key=ti_key, key=self.key) or ""


class PipelineRunLink(XComLink):
    """Leads to the pipeline run's page, where the service has one."""

    name = "Pipeline run"
    key = XCOM_RUN_URL


class ExperimentLink(XComLink):
    """Leads to the page of the run's experiment, where the service has one."""

    name = "Experiment"
    key = XCOM_EXPERIMENT_URL


class RecurringRunLink(XComLink):
    """Leads to the page of a recurring run."""

    name = "Recurring run"
    key = XCOM_RECURRING_RUN_URL


def airflow_url(*path: str) -> str:
    """Return the address of a page of this Airflow, which may lie below a path (``[api] base_url``).

    :param path: its parts, unquoted.
    """
    base = conf.get("api", "base_url", fallback="") or f"http://localhost:{conf.get('api', 'port', fallback='8080')}"
    return "/".join([base.rstrip("/"), *(quote(part, safe=":+") for part in path)])
