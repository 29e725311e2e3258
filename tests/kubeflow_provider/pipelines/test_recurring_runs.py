"""When a recurring run is due, as people say it and as Kubeflow takes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipelines.recurring_runs import Schedule, kubeflow_cron
from tests.doubles.kfp_server.cron import parse_cron


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("  0  3 * *\tMON ", "0 0 3 * * MON"),
        ("30 0 3 * * 1", "30 0 3 * * 1"),
        ("@daily", "@daily"),
        ("@every 1h30m", "@every 1h30m"),
    ],
)
def test_five_fields_are_those_of_airflow(given: str, taken: str) -> None:
    assert kubeflow_cron(given) == taken
    assert parse_cron(taken).get("second", {0}) in ({0}, {30})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "has 0 fields; give five"),
        ("0 3 * *", "has 4 fields; give five .* or six with the second before them"),
        ("0 0 3 * * 1 2026", "has 7 fields"),
        ("@once", "does not know '@once'; it knows @annually, .*@every 90m"),
        ("@continuous", "does not know '@continuous'"),
        ("CRON_TZ=Europe/Berlin 0 3 * * *", "one time zone for all .CRON_SCHEDULE_TIMEZONE"),
    ],
)
def test_what_kubeflow_would_misread_is_refused(given: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        kubeflow_cron(given)


BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize("start", [datetime(2026, 11, 21, 3, tzinfo=BERLIN), "2026-11-21T03:00:00.9+01:00"])
def test_times_are_told_to_the_second_in_utc(start: Any) -> None:
    limited = {"start_time": "2026-11-21T02:00:00Z"}

    by_cron = Schedule.of(cron="0 3 * * *", interval=None, start_time=start, end_time="")
    by_interval = Schedule.of(cron=None, interval=timedelta(hours=2), start_time=start, end_time=None)

    assert by_cron.to_trigger() == {"cron_schedule": {**limited, "cron": "0 0 3 * * *"}}
    assert by_interval.to_trigger() == {"periodic_schedule": {**limited, "interval_second": "7200"}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Exactly one of cron and interval"),
        ({"cron": "@daily", "interval": timedelta(days=1)}, "Exactly one of cron and interval"),
        ({"interval": timedelta()}, "interval: 0:00:00 is no whole number of seconds"),
        ({"interval": timedelta(seconds=1.5)}, "no whole number"),
        ({"cron": "@daily", "start_time": "tomorrow"}, "start_time: 'tomorrow' is no time in the form of ISO 8601"),
        ({"cron": "@daily", "end_time": "2026-11-21"}, "end_time: 2026-11-21 has no time zone; write 2026"),
        ({"cron": "@daily", "start_time": datetime(2026, 11, 21)}, "start_time: .* has no time zone"),
        (
            {"cron": "@daily", "start_time": "2026-11-21T00:00Z", "end_time": datetime(2026, 11, 21, tzinfo=UTC)},
            "end_time: .* is not after start_time",
        ),
    ],
)
def test_what_is_wrong_with_a_schedule_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        Schedule.of(**{"cron": None, "interval": None} | given)
