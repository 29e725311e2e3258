"""Alerts are :mod:`model_releases.alerts`."""
