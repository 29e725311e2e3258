"""What is deleted of a model, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.operators import retention
from model_releases.operators.retention import RetentionOperator
from model_releases.registry.service import Release

pytestmark = pytest.mark.computes

MODEL = "reviews"
VERSIONS = [f"202401{day:02}000000" for day in range(1, 7)]
LIVE, PREVIOUS, ORPHAN = VERSIONS[5], VERSIONS[4], "20231201000000"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return what Airflow is doing: ``releases`` (version -> version that was live at its start) and ``roll_back``."""
    doing = SimpleNamespace(releases={}, roll_back=None)
    monkeypatch.setattr(
        retention,
        "active_runs",
        lambda context, dag_id: [
            SimpleNamespace(run_id=version) for version in doing.releases if dag_id == "release_reviews"
        ],
    )
    monkeypatch.setattr(retention, "this_installation", lambda: "here")
    monkeypatch.setattr(retention, "release_version", lambda run: run.run_id)
    monkeypatch.setattr(retention, "live_at_start", lambda dag_id, run_id: doing.releases[run_id])
    monkeypatch.setattr(retention, "roll_back_under_way", lambda context, model: doing.roll_back)
    return doing


@pytest.fixture
def store(tmp_path: Path, registry: Any, serving: Any, runs: SimpleNamespace) -> Path:
    """Return the model's folder: six releases, the last of them live, and one folder that no record knows."""
    for version in VERSIONS:
        registry.register(Release(model=MODEL, version=version, state=ReleaseState.CANDIDATE), metrics={"f1": 0.9})
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    for version in (*VERSIONS, ORPHAN):
        (tmp_path / "store" / version / "package").mkdir(parents=True)
        (tmp_path / "store" / version / "package" / "m.mar").write_bytes(b"12345")
    serving.deployed = set(VERSIONS)
    serving.live, serving.previous = LIVE, PREVIOUS
    return tmp_path / "store"


@pytest.fixture
def run(store: Path) -> Callable[..., dict[str, Any]]:
    def run(**settings: Any) -> dict[str, Any]:
        operator = RetentionOperator(
            **{
                "task_id": MODEL,
                "model": MODEL,
                "store_uri": store.as_uri(),
                "policy": {"keep_releases": 3, "keep_unreleased": 0, "grace_days": 7},
                "release_dag_id": "release_reviews",
                "delete": True,
                **settings,
            }
        )
        return operator.execute({})  # type: ignore[typeddict-item]

    return run


def left(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def test_old_versions_go_from_store_and_service_and_their_records_stay(
    store: Path, run: Callable[..., Any], registry: Any, serving: Any
) -> None:
    found = run()
    assert left(store) == {VERSIONS[3], PREVIOUS, LIVE}
    assert serving.deployed == left(store)
    assert (found["deleted"], found["bytes"]) == (True, 20)
    assert [entry["version"] for entry in found["versions"] if entry["goes"]] == [*VERSIONS[2::-1], ORPHAN]
    for version in VERSIONS:
        record = registry.get_release(MODEL, version)
        assert record.facts["metric.f1"] == "0.9"
        assert bool(record.facts.get("archive_deleted_at")) is (version not in left(store))
    assert run()["bytes"] == 0, "there is nothing more to do"


@pytest.mark.parametrize("delete", [False, "False", "None", ""])
def test_without_a_clear_word_nothing_is_deleted_and_everything_is_said(
    store: Path, run: Callable[..., Any], registry: Any, capsys: pytest.CaptureFixture[str], delete: Any
) -> None:
    before = left(store)
    found = run(delete=delete)
    assert left(store) == before
    assert "archive_deleted_at" not in registry.get_release(MODEL, VERSIONS[0]).facts
    assert (found["deleted"], found["bytes"]) == (False, 20)
    said = capsys.readouterr().out
    assert "4 of 7 versions with 0.0 MB would go; nothing is deleted" in said
    for line in (
        f"{LIVE}     0.0 MB  live         stays     live",
        f"{PREVIOUS}     0.0 MB  retired      stays     the version before the live one",
        f"{VERSIONS[0]}     0.0 MB  retired      would go  older than the 3 newest releases",
        f"{ORPHAN}     0.0 MB  unknown      would go  no record knows it",
    ):
        assert line in said


def test_what_a_running_release_or_another_installation_needs_stays(
    store: Path, run: Callable[..., Any], runs: SimpleNamespace, registry: Any
) -> None:
    theirs, given, taken = "20231202000000", *VERSIONS[1:3]
    (store / theirs).mkdir()
    for version, maker in ((given, "here"), (theirs, "there"), (taken, "there")):
        (store / version / "claim.json").write_text(f'{{"mark": "1", "run": "a run", "installation": "{maker}"}}')
    for version, user in ((given, "there"), (taken, "here"), (taken, "third")):
        (store / version / f"taken-over-by-{user}.json").write_text("{}")
    runs.releases = {ORPHAN: VERSIONS[0]}
    found = {entry["version"]: entry["why"] for entry in run()["versions"]}
    assert {ORPHAN, VERSIONS[0]} <= left(store)
    assert found[ORPHAN] == "its release is running"
    assert found[VERSIONS[0]] == f"release {ORPHAN} compares with it"
    assert found[given] == "another installation has taken it over"
    assert found[theirs] == "another installation has made it"
    # Whoever has made it deletes it; here nobody needs it any more, and its record says that it cannot be put back.
    assert {given, theirs, taken} <= left(store)
    assert {path.name for path in (store / taken).glob("taken*")} == {"taken-over-by-third.json"}
    assert registry.get_release(MODEL, taken).facts["archive_deleted_at"]


def test_nothing_goes_while_registry_and_serving_disagree(store: Path, run: Callable[..., Any], serving: Any) -> None:
    before = left(store)
    serving.live = PREVIOUS
    with pytest.raises(
        InvalidRequestError, match=f"registry says that {LIVE} is live, serving answers with {PREVIOUS}"
    ):
        run()
    assert left(store) == before


def test_nothing_goes_while_somebody_rolls_back_also_when_it_begins_in_between(
    store: Path, run: Callable[..., Any], runs: SimpleNamespace, registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left(store)
    answers = iter([None, "manual__7"])
    monkeypatch.setattr(retention, "roll_back_under_way", lambda context, model: next(answers))
    with pytest.raises(ServiceUnavailableError, match="manual__7"):
        run()
    assert left(store) == before
    for version in VERSIONS:
        assert not registry.get_release(MODEL, version).facts.get("archive_deleted_at"), "it can still be put back"
    runs.roll_back = "manual__7"
    monkeypatch.setattr(retention, "roll_back_under_way", lambda context, model: runs.roll_back)
    with pytest.raises(ServiceUnavailableError, match="manual__7"):
        run(delete=False)


def test_a_deletion_that_was_killed_halfway_is_finished_by_the_next(
    store: Path, run: Callable[..., Any], registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_releases.memory.model_store import ModelStore

    def dies(self: ModelStore, version: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ModelStore, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            run()
    marked = VERSIONS[2]
    assert registry.get_release(MODEL, marked).facts["archive_deleted_at"]
    assert marked in left(store)
    # Also when by now it would be among those that stay.
    run(policy={"keep_releases": 4, "keep_unreleased": 0, "grace_days": 7})
    assert left(store) == {VERSIONS[1], VERSIONS[3], PREVIOUS, LIVE}


def test_what_serving_will_not_let_go_keeps_its_files(store: Path, run: Callable[..., Any], serving: Any) -> None:
    serving.stuck = {VERSIONS[2]}
    with pytest.raises(InvalidRequestError, match="cannot be removed"):
        run()
    assert VERSIONS[2] in left(store)


def test_a_link_in_the_store_is_left_alone(store: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store / "20230101000000").symlink_to(tmp_path / "elsewhere")
    run()
    assert (tmp_path / "elsewhere").exists()
    assert "20230101000000" in left(store)


@pytest.mark.parametrize("delete", [False, True])
def test_captured_requests_go_by_day_whether_they_are_captured_still_or_not(
    delete: bool, store: Path, run: Callable[..., Any]
) -> None:
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=age)).isoformat() for age in (0, 6, 8, 400)]
    for kind in ("captured", "labels"):
        for day in days:
            (store / kind / day).mkdir(parents=True)
            (store / kind / day / "native-1.jsonl").write_bytes(b"12345")

    found = run(capture={"enabled": False, "retention_days": 7}, delete=delete)

    assert found["captured"] == {"days": 4, "bytes": 20}
    assert left(store / "captured") == left(store / "labels") == set(days[:2] if delete else days)
