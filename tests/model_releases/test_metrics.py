"""What releases tell the metrics system of Airflow."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics.statsd_logger import get_statsd_logger
from airflow.sdk._shared.observability.metrics.validators import stat_name_otel_handler

from model_releases.metrics import Metric, tell


def test_what_goes_wrong_with_the_metrics_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk.observability import stats

    monkeypatch.setattr(stats, "gauge", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.WARNING):
        tell(Metric.ALERTS_UNDELIVERED, 1)
    assert "model_release.alerts_undelivered could not be told" in caplog.text


def test_a_metric_has_the_tags_that_it_promises(told: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    tell(Metric.WATCHED, 5, model="reviews")
    assert told == [("model_release.watched_timestamp_seconds", 5, {"model": "reviews"})]
    tell(Metric.ENDED, 5, model="reviews")
    assert len(told) == 1
    assert "'dag_id'" in caplog.text


def test_statsd_is_told_the_tags_as_influxdb_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.observability import stats

    sent: list[tuple[Any, ...]] = []
    client = SimpleNamespace(gauge=lambda *arguments: sent.append(arguments))
    statsd = get_statsd_logger(
        stats_class=lambda *_: client,
        influxdb_tags_enabled=True,
        statsd_influxdb_enabled=True,  # type: ignore[arg-type]
    )
    monkeypatch.setattr(stats, "gauge", statsd.gauge)
    tell(Metric.SMOKE_TEST_FAILED, 1.5, model="sample-reviews", through="endpoint")
    ((name, value, *_),) = sent
    assert name == f"{Metric.SMOKE_TEST_FAILED.stat},model=sample-reviews,through=endpoint"
    assert value == 1.5


@pytest.mark.parametrize("metric", Metric)
def test_its_name_is_one_for_every_metrics_system(metric: Metric) -> None:
    assert stat_name_otel_handler("airflow", metric.stat) == f"airflow.{metric.stat}"
    assert metric.stat == metric.stat.lower()
    assert len({entry.stat for entry in Metric}) == len(Metric)
