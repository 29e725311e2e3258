"""What on-call sees of releases, told to whatever metrics system this Airflow has: StatsD, Datadog or OpenTelemetry.

All of them are gauges, and most are moments: a task is a process of its own, so that a counter in it would begin anew
each time. ``changes()`` of a moment counts, ``time()`` less it is an age.
"""

from __future__ import annotations

import logging
from enum import Enum

log = logging.getLogger(__name__)


class Metric(Enum):
    """A metric: its name and its tags. Dashboards and alert rules (deploy/monitoring) go by both: never rename one.

    In Prometheus ``airflow_`` stands before the name, dots are underscores, and tags are labels.
    """

    #: When a run of a DAG last ended so; see :attr:`model_releases.memory.outcome.Outcome.label`.
    ENDED = ("model_release.ended_timestamp_seconds", "model", "dag_id", "outcome")
    #: How long the run took that ended last.
    DURATION = ("model_release.duration_seconds", "model", "dag_id")
    #: When a smoke test last failed, of the candidate or at the address that users call.
    SMOKE_TEST_FAILED = ("model_release.smoke_test_failed_timestamp_seconds", "model", "through")
    #: When the live version was made; 0 where nothing is live.
    LIVE_VERSION = ("model_release.live_version_timestamp_seconds", "model")
    #: When ``watch_releases`` last found out what is live.
    WATCHED = ("model_release.watched_timestamp_seconds", "model")
    #: Features of captured requests that have drifted, as the last comparison with requests enough has found.
    DRIFTED_FEATURES = ("model_release.drifted_features", "model")
    #: Share of the rows whose labels have arrived that the live version has answered rightly.
    LIVE_ACCURACY = ("model_release.live_accuracy", "model")
    #: Alerts that not all of their receivers have taken.
    ALERTS_UNDELIVERED = ("model_release.alerts_undelivered",)

    def __init__(self, stat: str, *tags: str) -> None:
        self.stat = stat
        self.tags = tags


def tell(metric: Metric, value: float, **tags: str) -> None:
    """Set a gauge, where this Airflow has a metrics system; nothing that goes wrong with that stops a release.

    :param tags: a value for each of the metric's tags.
    """
    from airflow.sdk.observability import stats

    try:
        stats.gauge(metric.stat, value, tags={name: tags[name] for name in metric.tags})
    except Exception:
        log.warning("The metric %s could not be told.", metric.stat, exc_info=True)
