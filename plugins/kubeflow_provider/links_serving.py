"""The button that leads from a task to the model that it served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: XCom key of the address that users call. The links of finished runs read it: never rename it.
ENDPOINT_XCOM_KEY = "endpoint"


class EndpointLink(BaseOperatorLink):
    """Address that users call for predictions."""

    name = "Endpoint"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty before the task has found it out."""
        return XCom.get_value(ti_key=ti_key, key=ENDPOINT_XCOM_KEY) or ""
