"""Two users share a store: what one makes the other may change, and what is denied is told with its remedies."""

from __future__ import annotations

import _strptime  # noqa: F401 - another user may not be able to import it when it is needed
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from include.contracts.version.claims import claim_attempt, claim_version
from include.contracts.version.files import make_folder, new_file, permissions_explained, reason_of, write_file

STORE = fsspec.filesystem("file")
VERSION = "20260101000000"

#: Who Airflow is in its official chart, and who the steps are in the project's image.
AIRFLOW, STEP = (50000, 0), (1000, 0)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@contextmanager
def user(uid: int, gid: int, umask: int = 0o022) -> Iterator[None]:
    """Make this process another user of the file system, as a pod would be one."""
    groups, before = os.getgroups(), os.umask(umask)
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(before)


def modes(root: Path) -> set[tuple[bool, int, int]]:
    """Return of everything below a folder whether it is one, its mode and its group."""
    found = [path.stat() for path in root.rglob("*")]
    return {(stat.S_ISDIR(each.st_mode), stat.S_IMODE(each.st_mode), each.st_gid) for each in found}


@pytest.fixture
def volume() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    (volume := folder / "volume").mkdir()
    yield volume
    shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize("root", [0o777, 0o2775, 0o2770, 0o775])
def test_what_one_user_makes_in_a_shared_folder_the_other_changes_and_deletes(
    volume: Path, root: int, umask: int
) -> None:
    volume.chmod(root)
    for first, second in ((AIRFLOW, STEP), (STEP, AIRFLOW)):
        with user(*first, umask):
            version = claim_version(STORE, f"{volume}/reviews", VERSION, mark="m", run="r")
            write_file(STORE, f"{volume}/reviews/{version}/queries/rows.jsonl", b"{}")
        with user(*second, umask):
            assert claim_attempt(STORE, f"{volume}/reviews/{version}", mark="n", run="r") == ""
            write_file(STORE, f"{volume}/reviews/{version}/queries/rows.jsonl", b"[]")
            write_file(STORE, f"{volume}/reviews/{version}/package/config/config.properties", b"")
        assert modes(volume) == {(True, 0o2770, 0), (False, 0o660, 0)}
        with user(*first, umask):
            shutil.rmtree(volume / "reviews")


@as_root
def test_the_group_is_that_of_the_folder_above_and_not_that_of_whoever_writes(volume: Path) -> None:
    os.chown(volume, 0, 2000)
    volume.chmod(0o775)  # without the bit that hands a group on
    with user(0, 0):
        write_file(STORE, f"{volume}/reviews/{VERSION}/claim.json", b"")
    assert modes(volume) == {(True, 0o2770, 2000), (False, 0o660, 2000)}


@as_root
def test_who_is_not_in_the_group_of_the_folder_shuts_nobody_out(volume: Path) -> None:
    volume.chmod(0o777)
    with user(1000, 1000):
        write_file(STORE, f"{volume}/reviews/claim.json", b"")
    assert modes(volume) == {(True, 0o755, 1000), (False, 0o644, 1000)}


def test_a_private_folder_stays_private_and_an_object_store_is_asked_for_no_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    before = os.umask(0o077)
    try:
        write_file(STORE, f"{tmp_path}/reviews/claim.json", b"")
    finally:
        os.umask(before)
    assert {mode for _, mode, _ in modes(tmp_path)} == {0o700, 0o600}
    memory = fsspec.filesystem("memory")
    write_file(memory, "/bucket/reviews/claim.json", b"{}")
    assert memory.cat_file("/bucket/reviews/claim.json") == b"{}"
    with pytest.raises(FileExistsError), new_file(STORE, f"{tmp_path}/reviews/claim.json", "xb"):
        pass


@as_root
@pytest.mark.parametrize(
    ("mode", "path", "told"),
    [
        (0o755, "reviews/new/claim.json", "reviews belongs to user 50000 and group 0 with mode 0755"),
        (0o700, "reviews/old.json", "reviews belongs to user 50000 and group 0 with mode 0700"),
        (0o755, "reviews/old.json", "old.json belongs to user 50000 and group 0 with mode 0600"),
    ],
)
def test_a_denied_place_is_told_with_owner_mode_who_asked_and_three_remedies(
    volume: Path, mode: int, path: str, told: str
) -> None:
    volume.chmod(0o777)
    with user(*AIRFLOW):
        (volume / "reviews").mkdir()
        (volume / "reviews" / "old.json").touch(0o600)
        (volume / "reviews").chmod(mode)
    with user(1000, 1000), pytest.raises(PermissionError) as caught, permissions_explained():
        write_file(STORE, f"{volume}/{path}", b"")
    text = str(caught.value)
    assert f"{told}, and user 1000 of group 1000 asked" in text
    assert all(remedy in text for remedy in ("run_as_user", "run_as_group", "fsGroup", "object store"))


@as_root
def test_what_cannot_be_deleted_is_told_by_the_folder_that_it_lies_in(volume: Path) -> None:
    make_folder(STORE, f"{volume}/reviews/{VERSION}")
    (volume / "reviews" / VERSION / "claim.json").write_text("{}")
    (volume / "reviews" / VERSION / "claim.json").chmod(0o666)
    with user(*AIRFLOW), pytest.raises(PermissionError) as caught:
        STORE.rm(f"{volume}/reviews/{VERSION}", recursive=True)
    with user(*AIRFLOW):
        told = reason_of(caught.value, path=f"{volume}/reviews/{VERSION}")
    assert told.startswith(
        f"{volume}/reviews/{VERSION} belongs to user 0 and group 0 with mode 0755, and user 50000 of group 0 asked."
    )


def test_other_errors_keep_their_words() -> None:
    assert reason_of(OSError(28, "No space left on device")) == "No space left on device"
    assert reason_of(OSError("Access Denied")) == "Access Denied"
    assert reason_of(PermissionError(13, "Permission denied", "s3://models/a")) == "Permission denied"
