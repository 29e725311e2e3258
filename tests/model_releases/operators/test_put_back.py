"""Which release may be put back, and what is recorded about it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.exceptions import CheckFailedError
from model_releases.operators import put_back as roll_back
from model_releases.operators.put_back import ChooseReleaseOperator, RecordRollBackOperator, triggering_user
from model_releases.registry.service import Release
from model_releases.rules.replaceable import is_pinned

pytestmark = pytest.mark.computes

MODEL = "reviews"
OLD, LIVE, REJECTED = "20260101000000", "20260102000000", "20260103000000"


@pytest.fixture
def store(
    tmp_path: Path,
    write_candidate: Callable[..., str],
    registry: Any,
    serving: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Return the model's store; OLD was live, LIVE is, REJECTED never was."""
    monkeypatch.setattr(roll_back, "deployment_under_way", lambda context, *dag_ids: None)
    folder = tmp_path / "store"
    for version, state in ((OLD, ReleaseState.LIVE), (LIVE, ReleaseState.LIVE), (REJECTED, ReleaseState.REJECTED)):
        package = folder / version / "package"
        (package / "model-store").mkdir(parents=True)
        (package / "model-store" / f"{MODEL}.mar").write_bytes(b"123456789")
        document = json.loads(Path(write_candidate(version=version).removeprefix("file://")).read_text())
        document["archive"] |= {"uri": package.as_uri(), "file": f"model-store/{MODEL}.mar"}
        text = json.dumps(document).encode()
        (folder / version / "candidate.json").write_bytes(text)
        entry = Release(
            model=MODEL,
            version=version,
            state=ReleaseState.CANDIDATE,
            archive_uri=package.as_uri(),
            facts={"archive_sha256": document["archive"]["sha256"], "candidate_sha256": sha256(text).hexdigest()},
        )
        registry.register(entry, metrics={})
        registry.set_state(MODEL, version, state)
    serving.live, serving.previous = LIVE, OLD
    return folder.as_uri()


def choose(store: str, version: str) -> dict[str, str]:
    operator = ChooseReleaseOperator(
        task_id="check", model=MODEL, version=version, store_uri=store, release_dag_id="release_reviews"
    )
    return operator.execute({})  # type: ignore[typeddict-item]


def record(**settings: Any) -> None:
    operator = RecordRollBackOperator(
        **{
            "task_id": "record",
            "model": MODEL,
            "version": OLD,
            "rolled_back_version": LIVE,
            "reason": "slow",
            **settings,
        }
    )
    operator.execute({"dag_run": SimpleNamespace(triggering_user_name="ada")})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("version", [OLD, f" {OLD}", "previous"])
def test_the_release_before_is_chosen_by_number_or_by_name(store: str, registry: Any, version: str) -> None:
    assert choose(store, version) == {
        "version": OLD,
        "live_version": LIVE,
        "candidate_uri": f"{store}/{OLD}/candidate.json",
        "candidate_sha256": registry.get_release(MODEL, OLD).facts["candidate_sha256"],
    }


def test_where_serving_keeps_no_previous_version_the_registry_knows_it(store: str, serving: Any, registry: Any) -> None:
    serving.previous = None
    assert choose(store, "previous")["version"] == OLD
    registry.add_facts(MODEL, OLD, {"archive_deleted_at": "2026-03-01T04:00:00+00:00"})
    with pytest.raises(InvalidRequestError, match="no release before"):
        choose(store, "previous")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (LIVE, "live already"),
        ("20200101000000", f"not in the registry; the newest there are {REJECTED}, {LIVE}, {OLD}"),
        (REJECTED, "rejected and was never live"),
    ],
)
def test_what_cannot_be_put_back_is_refused_with_the_reason(store: str, version: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        choose(store, version)


def test_the_only_release_has_none_before_it(store: str, serving: Any, registry: Any) -> None:
    serving.previous = None
    registry.set_state(MODEL, OLD, ReleaseState.FAILED)
    with pytest.raises(InvalidRequestError, match="no release before"):
        choose(store, "previous")


@pytest.mark.parametrize("gone", ["candidate.json", f"package/model-store/{MODEL}.mar"])
def test_an_archive_that_is_gone_is_noticed_before_anything_is_touched(store: str, gone: str) -> None:
    Path(store.removeprefix("file://"), OLD, gone).unlink()
    with pytest.raises(InvalidRequestError, match=f"{OLD} cannot be put back: .*{gone} is gone"):
        choose(store, OLD)


def test_an_archive_that_was_changed_is_noticed_before_anything_is_touched(store: str, registry: Any) -> None:
    archive = Path(store.removeprefix("file://"), OLD, "package", "model-store", f"{MODEL}.mar")
    archive.write_bytes(b"12345678")
    with pytest.raises(InvalidRequestError, match="has 8 bytes of 9"):
        choose(store, OLD)
    archive.write_bytes(b"123456789")
    registry.add_facts(MODEL, OLD, {"archive_sha256": "f" * 64})
    with pytest.raises(InvalidRequestError, match=r"SHA-256 15e2b0d3.* is announced, f{64} was released"):
        choose(store, OLD)


def test_a_document_that_was_changed_is_noticed_before_anything_is_touched(store: str) -> None:
    document = Path(store.removeprefix("file://"), OLD, "candidate.json")
    document.write_text(document.read_text().replace("a private text", "another text"))
    with pytest.raises(InvalidRequestError, match=r"it was changed since it was released: .*json has SHA-256"):
        choose(store, OLD)


def test_a_release_whose_files_were_deleted_says_when(store: str, registry: Any) -> None:
    registry.add_facts(MODEL, OLD, {"archive_deleted_at": "2026-03-01T04:00:00+00:00"})
    with pytest.raises(InvalidRequestError, match=r"was deleted at 2026-03-01T04:00:00\+00:00"):
        choose(store, OLD)


def test_a_release_that_was_live_can_be_put_back_whatever_a_failed_task_has_written_since(
    store: str, registry: Any
) -> None:
    registry.set_state(MODEL, OLD, ReleaseState.FAILED)
    assert choose(store, OLD)["version"] == OLD


def test_a_release_that_is_being_deployed_is_not_disturbed(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_back, "deployment_under_way", lambda context, *dag_ids: f"a run of {dag_ids[0]}")
    with pytest.raises(ServiceUnavailableError, match="a run of release_reviews"):
        choose(store, OLD)


def test_the_registry_says_who_did_it_and_why(store: str, serving: Any, registry: Any) -> None:
    serving.promote(MODEL, OLD)
    record()
    back, gone = registry.get_release(MODEL, OLD), registry.get_release(MODEL, LIVE)
    assert (back.state, back.reason) == (ReleaseState.LIVE, "put back by ada: slow")
    assert (gone.state, gone.reason) == (ReleaseState.ROLLED_BACK, f"rolled back to {OLD} by ada: slow")
    assert (back.facts["put_back_by"], back.facts["put_back_reason"]) == ("ada", "slow")
    assert {name: gone.facts[name] for name in ("rolled_back_by", "rolled_back_reason", "rolled_back_to")} == {
        "rolled_back_by": "ada",
        "rolled_back_reason": "slow",
        "rolled_back_to": OLD,
    }
    assert registry.get_live(MODEL).version == OLD
    assert is_pinned(gone)
    assert not is_pinned(back)


def test_what_was_live_without_a_record_is_rolled_back_all_the_same(store: str, serving: Any, registry: Any) -> None:
    serving.promote(MODEL, OLD)
    record(rolled_back_version="20250101000000")
    assert registry.get_live(MODEL).version == OLD


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ada", "ada"), ("dag_test", getpass.getuser()), (None, "somebody without a name")],
    ids=["of Airflow", "in a terminal", "unknown"],
)
def test_who_rolls_back_is_the_user_of_airflow_or_of_the_terminal(name: str | None, expected: str) -> None:
    assert triggering_user(SimpleNamespace(triggering_user_name=name)) == expected


def test_nothing_is_recorded_while_another_version_is_live(store: str, registry: Any) -> None:
    with pytest.raises(CheckFailedError, match=LIVE):
        record()
    assert registry.get_live(MODEL).version == LIVE
