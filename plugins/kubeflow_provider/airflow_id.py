"""What tells this Airflow from others that share a Kubeflow, or a store, with it."""

from __future__ import annotations

import logging
from uuid import UUID, uuid4

from airflow.sdk import Variable

log = logging.getLogger(__name__)

#: Airflow Variable that tells this Airflow from others which use the same Kubeflow: DAGs and their runs may have the
#: same names there. An Airflow that was made from a copy of this one's database needs another value.
AIRFLOW_ID = "kubeflow_provider_airflow_id"


def airflow_id() -> str | None:
    """Return what tells this Airflow from others; made when it is first asked for, ``None`` when it cannot be had."""
    try:
        known = Variable.get(AIRFLOW_ID, default=None)
        if known is None:
            Variable.set(AIRFLOW_ID, str(uuid4()), description="Marks the Kubeflow runs of this Airflow as its own.")
            known = Variable.get(AIRFLOW_ID)  # somebody else may have set it at the same moment
        return str(UUID(known))
    except Exception as error:  # whatever keeps Variables: a run without a mark is better than none
        log.warning("Runs get no mark, because the Variable %s cannot be used: %s", AIRFLOW_ID, error)
        return None
