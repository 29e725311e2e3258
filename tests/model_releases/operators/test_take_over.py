"""Which release of another installation may be taken over, and what is carried along."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory import claims, release_record
from model_releases.memory.released import leave
from model_releases.operators.registry import RegisterOperator
from model_releases.operators.take_over import CarryOverOperator, CheckTakeOverOperator
from model_releases.registry.service import Release
from tests.candidates import document
from tests.connected import connect
from tests.serving_support import FakeContext

MODEL, OLDER, VERSION, NEWER = "reviews", "20260101000000", "20260102000000", "20260103000000"
THERE = "http://staging/dags/release_reviews/runs/manual__1"
GATE = "accepted: macro F1 0.900"


class Records:
    """As much of a registry as taking over needs."""

    def __init__(self) -> None:
        self.releases: dict[str, Release] = {}

    def test_connection(self) -> tuple[bool, str]:
        return True, "it answers"

    def get_release(self, model: str, version: str) -> Release | None:
        return self.releases.get(version)

    def register(self, release: Release, *, metrics: Any) -> Release:
        self.releases[release.version] = release
        return release

    def list_releases(self, model: str, **more: Any) -> list[Release]:
        return list(self.releases.values())

    def release_url(self, model: str, version: str) -> str | None:
        return None


class World:
    """What staging has left in the store, and production, which is to take it over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / VERSION
        self.store_uri = f"file://{folder}"
        package = self.folder / "package" / "model-store"
        package.mkdir(parents=True)
        self.archive = package / f"{MODEL}.mar"
        self.archive.write_bytes(b"123456789")
        self.report = self.folder / "report.html"
        self.report.write_text("<h1>a report</h1>")
        self.archive_sha256 = sha256(b"123456789").hexdigest()
        archive = {
            "uri": f"{self.store_uri}/{VERSION}/package",
            "file": f"model-store/{MODEL}.mar",
            "sha256": self.archive_sha256,
            "size_bytes": 9,
        }
        self.write(archive=archive, report_uri=f"{self.store_uri}/{VERSION}/report.html", tracking_run_id="run-there")

    def write(self, **changes: Any) -> None:
        """Let staging release a candidate."""
        self.document = getattr(self, "document", document(version=VERSION, model=MODEL)) | changes
        text = json.dumps(self.document)
        (self.folder / "candidate.json").write_text(text)
        facts = {
            "candidate_sha256": sha256(text.encode()).hexdigest(),
            "archive_sha256": self.archive_sha256,
            "report_sha256": sha256(self.report.read_bytes()).hexdigest(),
            "gate": GATE,
            "approval": "yes",
            "approved_by": "ada",
            "dag_run_id": "manual__1",
            "tracking_run_id": "run-there",
        }
        self.release = Release(model=MODEL, version=VERSION, state=ReleaseState.LIVE, facts=facts)
        (self.folder / "release.json").unlink(missing_ok=True)
        self.release_sha256 = self.leave()

    def leave(self) -> str:
        uri = f"{self.store_uri}/{VERSION}/candidate.json"
        return leave(self.release, uri, dag_run_url=THERE, conn_id=None)

    def step(self, kind: Any, **settings: Any) -> Any:
        arguments = {
            "task_id": "step",
            "model": MODEL,
            "version": VERSION,
            "candidate_uri": f"{self.store_uri}/{VERSION}/candidate.json",
            "store_uri": self.store_uri,
            "release_sha256": self.release_sha256,
        }
        return kind(**arguments | settings)

    def check(self, **settings: Any) -> dict[str, str]:
        return self.step(CheckTakeOverOperator, **settings).execute({})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Records:
    """Return the registry of production; ``registry_default`` leads to it."""
    records = Records()
    connect(monkeypatch, registry_default=records)
    return records


@pytest.fixture
def there(tmp_path: Path, registry: Records, serving: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(serving, "test_connection", lambda: (True, "it answers"), raising=False)
    monkeypatch.setattr(serving, "check_candidate", lambda candidate: None, raising=False)
    monkeypatch.setattr(claims, "airflow_id", lambda: "production")
    return World(tmp_path / "store")


def test_what_staging_has_released_is_taken_over_with_everything_that_was_judged(
    there: World, registry: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert there.check() == {"version": VERSION, "live_version": ""}
    context = FakeContext()
    there.step(CarryOverOperator).execute(context)
    judged = context.xcoms["judged"]
    assert judged["archive_sha256"] == there.archive_sha256
    assert (there.folder / "taken-over-by-production.json").exists(), "staging's retention goes by it"
    assert (context.xcoms["decision"], context.xcoms["gate"]) == (f"taken over, {GATE}", GATE)

    # What the steps after it find.
    monkeypatch.setattr(release_record, "first_xcom", lambda context, task_ids, key: context["xcoms"].get(key))
    register = there.step(lambda store_uri, release_sha256, **known: RegisterOperator(**known))
    here = {"dag": SimpleNamespace(dag_id="take_over_reviews"), "run_id": "manual__9", "xcoms": context.xcoms}
    register.execute(here)
    record = registry.get_release(MODEL, VERSION)
    assert record.reason == f"taken over from {THERE}"
    found = record.facts
    assert (found["gate"], found["dag_run_id"], found["dag_run_id_there"]) == (GATE, "manual__9", "manual__1")
    assert (found["approval_there"], found["approved_by_there"]) == ("yes", "ada")
    assert (found["taken_over_from"], found["release_sha256"]) == (THERE, there.release_sha256)
    assert (found["tracking_run_id_there"], found.get("tracking_run_id")) == ("run-there", None)
    assert found["candidate_sha256"] == judged["candidate_sha256"]
    there.check()  # once more, after a try that failed


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"release_sha256": "f" * 64}, ReleaseRefusedError, "has SHA-256 .*, and f{64} was asked for"),
        (
            {"version": NEWER},
            InvalidRequestError,
            f"this model store has released reviews {NEWER}",
        ),
        ({"version": "../../other"}, InvalidRequestError, "it has 14 digits"),
        ({"model": "other"}, InvalidRequestError, "speaks of reviews"),
    ],
)
def test_only_what_a_person_has_seen_there_is_taken_over(
    there: World, settings: dict[str, str], error: type[Exception], message: str
) -> None:
    for kind in (CheckTakeOverOperator, CarryOverOperator):
        with pytest.raises(error, match=message):
            there.step(kind, **settings).execute(FakeContext())


def test_nothing_is_taken_over_that_the_other_installation_could_not_see_to_be_needed(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "airflow_id", lambda: None)
    with pytest.raises(ServiceUnavailableError, match="kubeflow_provider_airflow_id cannot be used"):
        there.step(CarryOverOperator).execute(FakeContext())


@pytest.mark.parametrize("changed", ["candidate.json", "report.html", f"package/model-store/{MODEL}.mar"])
def test_a_file_that_was_changed_since_it_was_judged_there_is_refused(there: World, changed: str) -> None:
    file = there.folder / changed
    file.write_bytes(file.read_bytes() + b" ")
    context = FakeContext()
    with pytest.raises(ReleaseRefusedError, match=changed.rpartition("/")[2].partition(".")[0]):
        there.step(CarryOverOperator).execute(context)
    assert context.xcoms == {}


def test_a_link_in_the_place_of_the_document_is_not_followed(there: World) -> None:
    document = there.folder / "release.json"
    document.rename(there.folder / "elsewhere.json")
    document.symlink_to(there.folder / "elsewhere.json")
    with pytest.raises(InvalidRequestError, match="is a link"):
        there.check()


@pytest.mark.parametrize("uri", ["s3://models/other", "file:///etc", "{store}/../package", "{store}-other/package"])
@pytest.mark.parametrize("what", ["archive", "report"])
def test_what_lies_outside_of_the_versions_folder_is_not_deployed(there: World, what: str, uri: str) -> None:
    uri = uri.format(store=f"{there.store_uri}/{VERSION}")
    archive = there.document["archive"]
    there.write(**({"archive": archive | {"uri": uri}} if what == "archive" else {"report_uri": uri}))
    with pytest.raises(InvalidRequestError, match="both installations must reach the store under one address"):
        there.check()


@pytest.mark.parametrize(
    ("state", "facts", "message"),
    [
        (ReleaseState.LIVE, {}, "is live here already"),
        (ReleaseState.RETIRED, {"taken_over_from": THERE}, f"has been live here and is retired.*VERSION={VERSION}"),
        (ReleaseState.ROLLED_BACK, {"taken_over_from": THERE}, "has been live here"),
        (ReleaseState.CANDIDATE, {}, "was made by this installation"),
        (ReleaseState.FAILED, {"taken_over_from": THERE}, ""),
    ],
)
def test_what_this_installation_knows_already_has_another_way(
    there: World, registry: Records, serving: Any, state: ReleaseState, facts: dict[str, str], message: str
) -> None:
    registry.register(Release(model=MODEL, version=VERSION, state=state, facts=facts), metrics={})
    serving.live = VERSION if state is ReleaseState.LIVE else None
    if message:
        with pytest.raises(InvalidRequestError, match=message):
            there.check()
    else:
        assert there.check()["version"] == VERSION


@pytest.mark.parametrize(
    ("live", "allow_older", "is_refused"), [(OLDER, False, False), (NEWER, False, True), (NEWER, "True", False)]
)
def test_a_newer_version_is_replaced_only_when_that_is_said(
    there: World, serving: Any, live: str, allow_older: Any, is_refused: bool
) -> None:
    serving.live = live
    if is_refused:
        with pytest.raises(InvalidRequestError, match=f"is older than {NEWER}"):
            there.check(allow_older=allow_older)
    else:
        assert there.check(allow_older=allow_older)["live_version"] == live


def test_services_that_do_not_answer_are_named_before_anything_is_read(
    there: World, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "test_connection", lambda: (False, "nobody is there"))
    with pytest.raises(ServiceUnavailableError, match=r"Nothing was touched\. Connection 'serving_default': nobody"):
        there.check(release_sha256="")


def test_the_document_is_written_once_and_again_when_its_write_broke_off(there: World) -> None:
    file = there.folder / "release.json"
    before = file.read_bytes()
    assert there.leave() == there.release_sha256
    assert file.read_bytes() == before
    file.write_bytes(before[:100])
    there.release_sha256 = there.leave()
    assert there.check()["version"] == VERSION


def test_what_was_taken_over_keeps_the_document_of_there(there: World) -> None:
    before = (there.folder / "release.json").read_bytes()
    facts = {"taken_over_from": THERE, "release_sha256": there.release_sha256}
    here = Release(model=MODEL, version=VERSION, state=ReleaseState.LIVE, facts=facts)
    uri = f"{there.store_uri}/{VERSION}/candidate.json"
    assert leave(here, uri, dag_run_url="http://production", conn_id=None) == there.release_sha256
    assert (there.folder / "release.json").read_bytes() == before
