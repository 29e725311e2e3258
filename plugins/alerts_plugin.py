"""Makes the deadline of a model's age known to Airflow, which looks for it by name in all of its processes."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from kubeflow_provider.alerts.deadlines import LiveModelTrained as StoredBefore  # type: ignore[import-not-found]
from model_releases.alerts.deadlines import LiveModelTrained


class AlertsPlugin(AirflowPlugin):
    """Registers the reference of :func:`~model_releases.alerts.deadlines.age_deadline`."""

    name = "release_alerts"
    deadline_references = [LiveModelTrained, StoredBefore]
