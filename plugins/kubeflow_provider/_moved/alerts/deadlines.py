"""Is :mod:`model_releases.alerts.deadlines`; deadlines that were set before the upgrade call back here."""

from model_releases.alerts import deadlines
from model_releases.alerts.deadlines import tell_of_age, tell_of_slow_release

__all__ = ["LiveModelTrained", "tell_of_age", "tell_of_slow_release"]


class LiveModelTrained(deadlines.LiveModelTrained):
    """The same; a class of its own, because Airflow knows a registered reference by its class's module."""
