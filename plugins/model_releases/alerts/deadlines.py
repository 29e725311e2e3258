"""Airflow's deadline alerts: a model that has grown too old, a release that takes too long.

Airflow computes a deadline when a DAG run is created and calls back, in the triggerer, once it has passed. A run that
succeeds before takes its deadline with it. So a release's own deadline can only say that the release takes too long;
the age of a model is a deadline of the runs of ``watch_releases``, each of which finds out anew when the model that is
live will be too old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert, DeadlineReference

from model_releases.alerts.alert import Alert, Severity
from model_releases.alerts.conditions import lasting, said
from model_releases.alerts.delivery import send_alert
from model_releases.alerts.findings import WATCH_VARIABLE, Watched, recall, too_old
from model_releases.alerts.text import body
from model_releases.memory.outcome import run_url

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


class LiveModelTrained(BaseDeadlineReference):
    """When the live version of a model was trained, as far as ``watch_releases`` knows.

    Airflow finds it through ``plugins/alerts_plugin.py``.

    :param model: name of the model.
    """

    def __init__(self, model: str = "") -> None:
        self.model = model

    def serialize_reference(self) -> dict[str, Any]:
        """Return it as Airflow stores it."""
        return {"reference_type": self.reference_name, "model": self.model}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> LiveModelTrained:
        """Read what :meth:`serialize_reference` wrote."""
        return cls(reference_data["model"])

    def _evaluate_with(self, *, session: Session, **_: Any) -> datetime | None:
        """Return the time, ``None`` when nothing is live. It runs in the scheduler: one row is read, nothing raised."""
        from airflow.models.variable import Variable
        from sqlalchemy import select

        from model_releases.versions import version_time

        row = session.scalar(select(Variable).where(Variable.key == f"{WATCH_VARIABLE}{self.model}"))
        return version_time(Watched.from_json(row.get_val()).live) if row is not None else None


def age_deadline(model: str, *, max_age_days: float, remind_after_hours: float, conn_id: str) -> DeadlineAlert:
    """Return the deadline of ``watch_releases`` that tells of a live model older than its limit.

    :param conn_id: connection to the receivers.
    """
    settings = {
        "model": model,
        "max_age_days": max_age_days,
        "remind_after_hours": remind_after_hours,
        "conn_id": conn_id,
    }
    return DeadlineAlert(
        reference=LiveModelTrained(model),
        interval=timedelta(days=max_age_days),
        callback=AsyncCallback(tell_of_age, kwargs=settings),
        name=f"age of {model}",
    )


def release_deadline(model: str, *, max_release_hours: float, conn_id: str) -> DeadlineAlert:
    """Return the deadline of a release DAG that tells of a release which is not over in time.

    :param conn_id: connection to the receivers.
    """
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=max_release_hours),
        callback=AsyncCallback(
            tell_of_slow_release, kwargs={"model": model, "max_release_hours": max_release_hours, "conn_id": conn_id}
        ),
        name=f"end of a release of {model}",
    )


async def tell_of_age(
    context: Mapping[str, Any], *, model: str, max_age_days: float, remind_after_hours: float, conn_id: str
) -> None:
    """Say that the live model is too old, unless it has been replaced since. Runs in the triggerer."""
    # In threads: Airflow's Variables and Apprise block, and the triggerer's other triggers must not wait for them.
    live = (await asyncio.to_thread(recall, model)).live
    alert = too_old(
        model,
        live,
        max_age=timedelta(days=max_age_days),
        remind_after=timedelta(hours=remind_after_hours),
        now=datetime.now(UTC),
        links={"DAG run": run_url(context["dag_run"]["dag_id"], context["dag_run"]["dag_run_id"])},
    )
    if alert is None:
        log.info("The live version of %s is %s, which is young enough.", model, live or "none")
        return
    await asyncio.to_thread(send_alert, alert, conn_id)


async def tell_of_slow_release(
    context: Mapping[str, Any], *, model: str, max_release_hours: float, conn_id: str
) -> None:
    """Say that a release takes too long, unless it has ended: a failed run keeps its deadline."""
    run = context["dag_run"]
    if run["state"] not in ("queued", "running"):
        log.info("The run %s of %s has ended as %s.", run["dag_run_id"], run["dag_id"], run["state"])
        return
    alert = Alert(
        key=f"slow/{run['dag_id']}/{run['dag_run_id']}",
        severity=Severity.NORMAL,
        title=f"Release of {model} has been under way for {lasting(timedelta(hours=max_release_hours))}",
        body=body(
            {
                "Model": model,
                "State": run["state"],
                "Asked for": said(datetime.fromisoformat(run["queued_at"])),
                "What to do": "look at the task that waits: approval, training, or a pool without a slot",
                "DAG run": run_url(run["dag_id"], run["dag_run_id"]),
            }
        ),
    )
    await asyncio.to_thread(send_alert, alert, conn_id)
