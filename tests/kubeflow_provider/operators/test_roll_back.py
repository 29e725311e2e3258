"""Which release may be put back, and what is recorded about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.exceptions import CheckFailedError, InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.operators.roll_back import ChooseReleaseOperator, RecordRollBackOperator
from kubeflow_provider.services import Release
from kubeflow_provider.states import ReleaseState

MODEL = "reviews"
OLD, LIVE, REJECTED = "20260101000000", "20260102000000", "20260103000000"


@pytest.fixture
def store(tmp_path: Path, write_candidate: Callable[..., str], registry: Any, serving: Any) -> str:
    """Return the model's store; OLD was live, LIVE is, REJECTED never was."""
    folder = tmp_path / "store"
    for version, state in ((OLD, ReleaseState.LIVE), (LIVE, ReleaseState.LIVE), (REJECTED, ReleaseState.REJECTED)):
        entry = Release(
            model=MODEL, version=version, state=ReleaseState.CANDIDATE, archive_uri=f"s3://models/{version}"
        )
        registry.register(entry, metrics={})
        registry.set_state(MODEL, version, state)
        (folder / version).mkdir(parents=True)
        Path(write_candidate(version=version).removeprefix("file://")).rename(folder / version / "candidate.json")
    serving.live, serving.previous = LIVE, OLD
    return folder.as_uri()


def choose(store: str, version: str, *, running: int = 0) -> dict[str, str]:
    operator = ChooseReleaseOperator(
        task_id="check", model=MODEL, version=version, store_uri=store, release_dag_id="release_reviews"
    )
    ti = SimpleNamespace(get_dr_count=lambda dag_id, states: running if dag_id == "release_reviews" else 0)
    return operator.execute({"ti": ti})  # type: ignore[typeddict-item]


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
def test_the_release_before_is_chosen_by_number_or_by_name(store: str, version: str) -> None:
    assert choose(store, version) == {
        "version": OLD,
        "live_version": LIVE,
        "candidate_uri": f"{store}/{OLD}/candidate.json",
    }


def test_where_serving_keeps_no_previous_version_the_registry_knows_it(store: str, serving: Any) -> None:
    serving.previous = None
    assert choose(store, "previous")["version"] == OLD


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


def test_an_archive_that_is_gone_is_noticed_before_anything_is_touched(store: str) -> None:
    Path(store.removeprefix("file://"), OLD, "candidate.json").unlink()
    with pytest.raises((InvalidRequestError, ServiceUnavailableError), match=OLD):
        choose(store, OLD)


def test_a_running_release_is_not_disturbed(store: str) -> None:
    with pytest.raises(ServiceUnavailableError, match="release_reviews"):
        choose(store, OLD, running=1)


def test_the_registry_says_who_did_it_and_why(store: str, serving: Any, registry: Any) -> None:
    serving.promote(MODEL, OLD)
    record()
    back, gone = registry.get_release(MODEL, OLD), registry.get_release(MODEL, LIVE)
    assert (back.state, back.reason) == (ReleaseState.LIVE, "put back by ada: slow")
    assert (gone.state, gone.reason) == (ReleaseState.ROLLED_BACK, f"rolled back to {OLD} by ada: slow")
    assert registry.get_live(MODEL).version == OLD


def test_nothing_is_recorded_while_another_version_is_live(store: str, registry: Any) -> None:
    with pytest.raises(CheckFailedError, match=LIVE):
        record()
    assert registry.get_live(MODEL).version == LIVE
