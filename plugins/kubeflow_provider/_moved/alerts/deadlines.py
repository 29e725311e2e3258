"""Is :mod:`model_releases.alerts.deadlines`; deadlines that were set before the upgrade call back here."""

from model_releases.alerts.deadlines import LiveModelTrained, tell_of_age, tell_of_slow_release

__all__ = ["LiveModelTrained", "tell_of_age", "tell_of_slow_release"]
