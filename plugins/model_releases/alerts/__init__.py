"""Tells people what they must know of a release, once, also when nobody listens at first."""

from __future__ import annotations

from model_releases.alerts.alert import NOBODY, Alert, Severity
from model_releases.alerts.delivery import deliver_waiting, send_alert

__all__ = ["NOBODY", "Alert", "Severity", "deliver_waiting", "send_alert"]
