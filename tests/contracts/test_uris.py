"""A local file has one URI in the project, however it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.contracts.uris import file_uri, from_outside, local_path, to_open

NAMES = ("plain", "My Data", "#1", "100%", "100%25", "a?b", "[x]", "a=b", "(é)", "отзывы", "a+b&c")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exists", [True, False])
def test_both_ways_to_write_a_path_are_one(tmp_path: Path, name: str, exists: bool) -> None:
    path = tmp_path / name
    if exists:
        path.touch()

    assert from_outside(path.as_uri()) == file_uri(path)
    assert to_open(file_uri(path)) == path.as_uri()
    if exists or "%25" not in name:  # what is not there and may be either is read as a URI
        assert from_outside(file_uri(path)) == file_uri(path)
        assert local_path(file_uri(path)) == str(path)


@pytest.mark.parametrize("uri", ["s3://bucket/a%20b#c", "https://h/a%20b?x=1", "hub:owner/name"])
def test_what_is_elsewhere_stays_as_it_is(uri: str) -> None:
    assert from_outside(uri) == to_open(uri) == uri


def test_a_path_that_cannot_be_looked_at_is_no_error_yet() -> None:
    assert local_path(f"file:///a%20{'b' * 300}") == f"/a {'b' * 300}"
