"""What a form may name, as a table of tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.contracts.rules.allowed_sources import EVERYTHING, is_allowed, is_as_named, named_hosts, refusals

PROJECT = Path(__file__).parents[3]
ALLOWED = (
    "https://data.example/reviews.csv?version=1",
    "s3://models/reviews",
    "hub:",
    "gs://",
    "https://files.example:8443/team",
    "/data/shared/",
    "include/sample_data",
    "file:///srv/data",
)


@pytest.mark.parametrize(
    "location",
    [
        *ALLOWED[:2],
        "s3://models/reviews/20260101000000/dataset/train.parquet",
        "gs://any-bucket/a.csv",
        "hub:owner/name",
        "hub:owner/name.v2:train[:10%]",
        "https://files.example:8443/team/a.csv?sig=x",
        "HTTPS://FILES.example:8443/team/a.csv",
        "/data/shared/a.csv",
        "/data/./shared/b/../a.csv",
        "file:///data/shared/a.csv",
        "/srv/data/a.csv",
        "include/sample_data/train.csv",
        str(PROJECT / "include" / "sample_data" / "train.csv"),
    ],
)
def test_what_was_named_and_what_lies_in_it_is_read(location: str) -> None:
    assert is_allowed(location, ALLOWED)
    assert refusals([location], ALLOWED) == []


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "/data/shared-by-others/a.csv",
        "/data/shared/../secret.csv",
        "include/sample_data/../../.state/airflow/passwords.json",
        "file:///data/shared/../../etc/a.csv",
        "file:////etc/a.csv",
        "s3://models/reviews-of-others/a.csv",
        "s3://models/reviews/../other/a.csv",
        "s3://models/reviews/%2e%2e/other/a.csv",
        "s3://others/reviews/a.csv",
        "http://files.example:8443/team/a.csv",
        "https://files.example/team/a.csv",
        "https://files.example:8443.evil.example/team/a.csv",
        "https://files.example:8443@evil.example/team/a.csv",
        "https://me:password@files.example:8443/team/a.csv",
        "https://evil.example\\@files.example:8443/team/a.csv",
        "https://files.example:8443/team/../other/a.csv",
        "https://data.example/reviews.csv?version=2",
        "http://127.0.0.1/latest/meta-data/x.csv",
        "http://[::1]/x.csv",
        "hub:json",
        "hub:/etc",
        "hub:../..",
        "hub:owner/name/../..",
        "hub:./folder",
        "hub:owner/name\n",
        "query:tickets",
        "sql:warehouse:SELECT * FROM tickets",
        "simplecache::s3://models/reviews/a.csv",
        "reference://a.csv::s3://models/reviews/a.json",
        "s3://models/reviews/\x00a.csv",
        "ftp://files.example/a.csv",
        "https://[files.example/a.csv",
        "https://me:password@files\u2100example/a.csv",
        "s3:///models/reviews/a.csv",
        "",
        ".",
    ],
)
def test_nothing_else_is_and_the_refusal_tells_no_secret(location: str) -> None:
    assert not is_allowed(location, ALLOWED)
    (refusal,) = refusals([location], ALLOWED)
    assert "data.allowed_sources" in refusal
    assert "password" not in refusal or "passwords.json" in location


def test_a_terminal_may_name_everything() -> None:
    assert is_allowed("/etc/passwd", [EVERYTHING])
    assert is_as_named("/etc/passwd", [EVERYTHING])


def test_only_what_was_named_itself_is_trusted_as_it_is() -> None:
    assert is_as_named(ALLOWED[0], ALLOWED)
    assert not is_as_named("/data/shared/a.csv", ALLOWED)
    assert named_hosts(ALLOWED) == {"data.example", "models", "files.example"}


def test_what_is_hidden_in_a_folder_is_not_named_with_it() -> None:
    assert is_allowed("/data/.hidden/a.csv", ["/data/.hidden"])
    for location in ("/data/.hidden/a.csv", "/data/folder/.a.csv", "/data/.a.csv"):
        assert not is_allowed(location, ["/data"])


@pytest.mark.parametrize("name", ["scratch", "bert-base-uncased", "owner/name.v2", "/models/ours", "/models/ours/v1"])
def test_a_base_model_is_one_of_the_hub_or_in_a_folder_that_was_named(name: str) -> None:
    assert refusals([], ["/models/ours"], base_model=name) == []


@pytest.mark.parametrize("name", ["/etc", "/models", "../../etc", "./folder", "~/folder", ".state/a", "a/b/c", "a/.."])
def test_any_other_base_model_is_refused(name: str) -> None:
    (refusal,) = refusals([], ["/models/ours"], base_model=name)
    assert refusal.startswith(f"{name} is not read on behalf of a form")


def test_an_address_is_no_base_model_whoever_names_it() -> None:
    (refusal,) = refusals([], [EVERYTHING], base_model="https://me:password@host/model?sig=password")
    assert refusal == "https://host/model is no base model: give its Hub id, a folder, or `scratch`."
