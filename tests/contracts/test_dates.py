"""A day in a source is written in one way, and a window is made of the days of a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from include.contracts.dates import Window, days_of, is_dated, on_day
from include.contracts.settings import DataConfig, TrainedModel

DAY = date(2026, 3, 5)
SMALLEST = {"train": ["train.csv"], "labels": ["bad", "good"]}


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("reviews-{date}.csv", "reviews-2026-03-05.csv"),
        ("s3://b/{date:%Y/%m/%d}/part-*.csv", "s3://b/2026/03/05/part-*.csv"),
        ("s3://b/year={date:%Y}/month={date:%m}/", "s3://b/year=2026/month=03/"),
        ("a/{date:%y%m%d}.csv", "a/260305.csv"),
        ("a/{date:%Y-%j}.csv", "a/2026-064.csv"),
        ("a/{date:%G-W%V}.csv", "a/2026-W10.csv"),
        ("a/%Y/{day}/b.csv", "a/%Y/{day}/b.csv"),
    ],
)
def test_a_day_stands_where_the_source_says(source: str, address: str) -> None:
    data = DataConfig.model_validate(SMALLEST | {"train": source})
    assert on_day(data.train[0], DAY) == address
    assert is_dated(source) is data.is_dated is (source != address)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"train": ["a/{date:%H}.csv"]}, "a date in a source is {date} for 2026-11-29"),
        ({"train": ["a/{date:%Y-%q}.csv"]}, "a date in a source is"),
        ({"train": ["a/{date:latest}.csv"]}, "a date in a source is"),
        ({"train": ["a/{date:}.csv"]}, "a date in a source is"),
        ({"train": ["a/{date.csv"]}, "a date in a source is"),
        ({"evaluation": ["a/{dates}.csv"]}, "a date in a source is"),
        ({"train": ["hub:owner/name:{date}"]}, "a data set of the Hub has no {date}"),
        ({"last": "ninety days"}, "write a number of days or weeks"),
        ({"last": "0 days"}, "write a number of days or weeks"),
        ({"last": "90"}, "write a number of days or weeks"),
        ({"date_column": "day"}, "date_column: says nothing without `last`"),
        ({"date_column": "text", "last": "2 days"}, "name each column once"),
        ({"until": "tomorrow"}, "Input should be 'today' or 'yesterday'"),
    ],
)
def test_what_cannot_be_a_day_is_refused_when_it_is_read(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint.replace("{", r"\{")):
        DataConfig.model_validate(SMALLEST | settings)


def test_days_of_nothing_are_refused_in_a_models_yaml_and_not_for_what_a_form_names() -> None:
    with pytest.raises(ValidationError, match=r"data\.last: neither does a source hold"):
        TrainedModel.model_validate({"name": "reviews", "data": SMALLEST | {"last": "90 days"}})
    dated = DataConfig.model_validate(SMALLEST | {"train": "{date}.csv", "last": "90 days"})
    assert dated.with_sources(["other.csv"], None).window(datetime.now(UTC), "UTC") is None


@pytest.mark.parametrize(
    ("moment", "timezone", "settings", "first", "last"),
    [
        ("2026-11-29T12:00+00:00", "UTC", {}, "2026-11-29", "2026-11-29"),
        ("2026-11-29T12:00+00:00", "UTC", {"last": "90 days"}, "2026-09-01", "2026-11-29"),
        ("2026-11-29T12:00+00:00", "UTC", {"last": "2 weeks", "until": "yesterday"}, "2026-11-15", "2026-11-28"),
        ("2026-11-29T23:30+00:00", "Europe/Berlin", {}, "2026-11-30", "2026-11-30"),
        ("2026-11-29T03:30+00:00", "America/New_York", {}, "2026-11-28", "2026-11-28"),
        ("2026-03-29T22:30+00:00", "Europe/Berlin", {"last": "2 days"}, "2026-03-29", "2026-03-30"),
        ("2026-03-28T22:30+00:00", "Europe/Berlin", {"last": "2 days"}, "2026-03-27", "2026-03-28"),
    ],
)
def test_a_window_ends_with_the_day_that_the_models_clock_shows(
    moment: str, timezone: str, settings: dict[str, str], first: str, last: str
) -> None:
    data = DataConfig.model_validate(SMALLEST | {"train": "{date}.csv"} | settings)
    window = data.window(datetime.fromisoformat(moment), timezone)
    assert window == Window(date.fromisoformat(first), date.fromisoformat(last), timezone)
    assert len(list(window.days())) == days_of(settings.get("last", "1 day"))
