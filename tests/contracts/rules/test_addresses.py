"""What is told of an address, and what of it is secret, as a table of tries."""

from __future__ import annotations

import string
from itertools import product

import pytest

from include.contracts.rules.addresses import secrets_of, without_secrets

LONG = "c29tZS1sb25nLXNpZ25hdHVyZQ"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:HIDDEN@h:8443/a.csv", "https://h:8443/a.csv"),
        ("https://HIDDEN@h/a.csv", "https://h/a.csv"),
        ("HTTPS://me:HIDDEN@h/a.csv?sig=HIDDEN#token=HIDDEN", "HTTPS://h/a.csv"),
        ("https://me:HIDDEN/with@h/@scope/a.csv", "https://scope/a.csv"),
        ("https://me:HIDDEN@with:HIDDEN@h/a.csv", "https://h/a.csv"),
        ("https://me:HIDDEN?with@h/a.csv", "https://h/a.csv"),
        ("https://me:HIDDEN%40with@[::1]:80/a.csv", "https://[::1]:80/a.csv"),
        ("https://h?sig=HIDDEN/HIDDEN", "https://h"),
        ("https://h/a.csv?X-Amz-Credential=HIDDEN&X-Amz-Signature=HIDDEN", "https://h/a.csv"),
        ("https://h/a.csv?X-Amz-Security-Token=HIDDEN", "https://h/a.csv"),
        ("https://h/a.csv?GoogleAccessId=me&X-Goog-Signature=HIDDEN", "https://h/a.csv"),
        ("https://h/a.csv?sv=2024-11-04&se=2026-12-01&sr=b&sp=r&sig=HIDDEN", "https://h/a.csv"),
        ("https://h/a.csv?X-Plex=HIDDEN-c29tZS1sb25nLXNp", "https://h/a.csv"),
        ("https://h/a.csv?HIDDEN-c29tZS1sb25nLXNp", "https://h/a.csv"),
        ("s3://AKIA:HIDDEN@bucket/a#1.csv", "s3://bucket/a#1.csv"),
        ("s3://bucket/a.csv?X-Amz-Signature=HIDDEN", "s3://bucket/a.csv"),
        ("gs://bucket/a.csv?X-Goog-Signature=HIDDEN", "gs://bucket/a.csv"),
        ("abfss://c:HIDDEN@account/a.csv?sig=HIDDEN", "abfss://account/a.csv"),
        ("ftp://me:HIDDEN@h/a.csv", "ftp://h/a.csv"),
        ("postgresql://me:HIDDEN@h/db?password=HIDDEN", "postgresql://h/db"),
        ("simplecache::https://me:HIDDEN@h/a.csv?sig=HIDDEN", "simplecache::https://h/a.csv"),
        ("zip://a.csv::https://me:HIDDEN@h/a.zip?sig=HIDDEN", "zip://a.csv::https://h/a.zip"),
        ("reference://a::simplecache::s3://AKIA:HIDDEN@b/a.json", "reference://a::simplecache::s3://b/a.json"),
        ("hub:https://me:HIDDEN@huggingface.co/owner/name", "hub:https://huggingface.co/owner/name"),
        ("https://me:HIDDEN::HIDDEN@h/a.csv", "https://h/a.csv"),
        ("https://me:HIDDEN::HIDDEN/HIDDEN@h/a.csv", "https://h/a.csv"),
        ("simplecache::https://me:HIDDEN::HIDDEN@h/a.csv", "simplecache::https://h/a.csv"),
        # Mistyped.
        ("https:/me:HIDDEN@h/a.csv", "h/a.csv"),
        ("me:HIDDEN@h:/data/a.csv", "h:/data/a.csv"),
        ("//me:HIDDEN@h/a.csv", "h/a.csv"),
        ("h/a.csv?sig=HIDDEN", "h/a.csv"),
    ],
)
def test_nothing_secret_is_shown_and_all_of_it_is_known(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    secrets = secrets_of(address)
    assert all("HIDDEN" in secret for secret in secrets)
    left = address
    for secret in sorted(secrets, key=len, reverse=True):
        left = left.replace(secret, "***")
    assert "HIDDEN" not in left, "who knows them can blot out all of it"


@pytest.mark.parametrize(
    "address",
    [
        "include/sample_data/train.csv",
        "/data/a?b=c.csv",
        "/data/me@home/a.csv",
        "/data/a:b.csv",
        "file:///data/@team/a.csv",
        "file:///data/what?=a-folder-with-a-long-name/a.csv",
        "hub:owner/name:configuration:train[:10%]",
        "https://h:8443/@scope/a.csv",
        "s3://bucket/what?.csv",
        "s3://bucket/day=1/a@b.csv",
        "gs://bucket/a#1.csv",
        "scratch",
        "owner/name",
        "",
    ],
)
def test_what_is_not_secret_is_shown_as_it_is(address: str) -> None:
    assert without_secrets(address) == address
    assert secrets_of(address) == []


@pytest.mark.parametrize("protocol", ["sqlite", "file", "postgresql", "s3", "hdfs", "https"])
@pytest.mark.parametrize("place", ["", "h", "h:5432"])
def test_an_address_keeps_its_slashes(protocol: str, place: str) -> None:
    for slashes in range(4):
        rest = f"{place}{'/' * slashes}mnt//models/mlflow.db"
        assert without_secrets(f"{protocol}://{rest}") == f"{protocol}://{rest}"
        if place and slashes:
            assert without_secrets(f"{protocol}://me:secret@{rest}") == f"{protocol}://{rest}"


@pytest.mark.parametrize(
    "address",
    [
        "https://h/a.csv?download=true&version=2026-01-01",
        f"s3://bucket/a.csv?versionId={LONG}",
        "abfss://container@account.dfs.core.windows.net/a.csv",
    ],
)
def test_a_query_that_lets_nobody_in_is_no_secret(address: str) -> None:
    assert secrets_of(address) == []


@pytest.mark.parametrize("address", ["https://me:{}@h/a.csv", "s3://key:{}@b/a.csv", "dir::ftp://me:{}@h/a.csv"])
def test_a_password_may_hold_whatever_it_likes(address: str) -> None:
    shown = without_secrets(address.replace("me:{}@", "").replace("key:{}@", ""))
    for letters in product(string.punctuation, repeat=2):
        password = f"HID{''.join(letters)}DEN"
        assert without_secrets(address.format(password)) == shown
        assert any(password in secret for secret in secrets_of(address.format(password))), password


def test_a_secret_is_known_as_it_is_written_and_as_it_is_meant() -> None:
    assert secrets_of("https://me:pa%40ss@h/a.csv?sig=ab%2Bcd&se=1") == [
        "me:pa%40ss@", "me:pa@ss@", "pa%40ss", "pa@ss", "ab%2Bcd", "ab+cd",
    ]  # fmt: skip
    assert secrets_of(f"s3://{LONG}:password@bucket/a.csv")[1:] == ["password", LONG]
