from __future__ import annotations

from pathlib import Path

import pytest

from include.classifier.batch.output import Output
from include.classifier.data.problems import DataError
from include.contracts.batch.settings import refused_output
from tests.classifier.batch.scorers import predict


def test_a_folder_with_files_of_others_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(DataError, match=r"holds other files \('notes.txt'\)"):
        Output(str(tmp_path)).check(["*"], data_uri="/data/reviews.csv")


def test_a_folder_with_our_own_is(tmp_path: Path) -> None:
    data, out = tmp_path / "reviews.csv", tmp_path / "out"
    data.write_text("text,id\na,1\n,2\n")
    predict(out, data)

    Output(str(out)).check(["*"], data_uri=str(data))


@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_the_output_is_no_part_of_the_input(tmp_path: Path, inside: str) -> None:
    with pytest.raises(DataError, match="lies in the input"):
        Output(f"{tmp_path}/in{inside}").check(["*"], data_uri=f"{tmp_path}/in")


def test_a_link_leads_no_further_than_its_name(tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "named" / "link").symlink_to(tmp_path / "elsewhere")
    allowed = [str(tmp_path / "named")]

    Output(f"{tmp_path}/named/new").check(allowed, data_uri="/data/reviews.csv")
    with pytest.raises(DataError, match="is not written on behalf of a form"):
        Output(f"{tmp_path}/named/link/new").check(allowed, data_uri="/data/reviews.csv")


@pytest.mark.parametrize("uri", ["https://host/out", "simplecache::s3://bucket/out", "reference://x"])
def test_addresses_that_nothing_is_written_to(uri: str) -> None:
    with pytest.raises(DataError, match="nothing can be written there"):
        Output(uri)


@pytest.mark.parametrize(
    ("uri", "refusal"),
    [
        ("s3://bucket/scores/today", ""),
        ("s3://bucket/scores", ""),
        ("s3://bucket/scores-of-others", "is not written on behalf of a form"),
        ("s3://bucket/scores/../x", "is not written on behalf of a form"),
        ("s3://me:secret@bucket/scores", "no user, password or signature"),
        ("  ", "The output is empty"),
    ],
)
def test_a_form_has_written_what_was_named(uri: str, refusal: str) -> None:
    found = refused_output(uri, ["s3://bucket/scores"])

    assert refusal in found
    assert bool(found) == bool(refusal)
    assert "me:" not in found
