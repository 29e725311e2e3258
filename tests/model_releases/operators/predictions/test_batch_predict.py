"""Which version scores what, and what a form may not name."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind
from model_releases.exceptions import ReleaseRefusedError
from model_releases.operators.predictions.batch_predict import PIPELINE, BatchPredictOperator
from model_releases.registry.service import Release

pytestmark = pytest.mark.computes

MODEL = "reviews"
OLD, LIVE = "20260101000000", "20260102000000"


@pytest.fixture
def store(tmp_path: Path, write_candidate: Callable[..., str], registry: Any, serving: Any) -> str:
    """Return the model's store; OLD was live, LIVE is."""
    folder = tmp_path / "store"
    for version in (OLD, LIVE):
        text = Path(write_candidate(version=version).removeprefix("file://")).read_bytes()
        (folder / version).mkdir(parents=True)
        (folder / version / "candidate.json").write_bytes(text)
        archive = json.loads(text)["archive"]
        facts = {"archive_sha256": archive["sha256"], "candidate_sha256": sha256(text).hexdigest()}
        registry.register(
            Release(
                model=MODEL, version=version, state=ReleaseState.CANDIDATE, archive_uri=archive["uri"], facts=facts
            ),
            metrics={},
        )
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    serving.live = LIVE
    return folder.as_uri()


def operator(store: str, **settings: Any) -> BatchPredictOperator:
    given: dict[str, Any] = {
        "task_id": "predict",
        "model": MODEL,
        "data_uri": "/data/reviews.csv",
        "output_uri": f"{store}/predictions/today",
        "store_uri": store,
        "reading": {"text_column": "text", "encoding": None, "labels": {"0": "bad", "1": "good"}},
        "deferrable": False,
    }
    return BatchPredictOperator(**given | settings)


def parameters(store: str, **settings: Any) -> dict[str, Any]:
    return dict(operator(store, **settings).run_parameters({}))  # type: ignore[typeddict-item]


def write_plan(store: str, **facts: Any) -> None:
    document = {
        "schema_version": 1, "created_at": "2026-01-02T00:00:00+00:00", "model": MODEL, "version": OLD,
        "archive_sha256": "a" * 64, "data_uri": "/data/reviews.csv", "format": "csv", "text_columns": ["text"],
        "reading_sha256": "b" * 64, "columns": [], "files": [], "shards": [],
    }  # fmt: skip
    folder = Path(store.removeprefix("file://"), "predictions", "today")
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(document | facts))


@pytest.mark.parametrize(("asked", "version"), [("live", LIVE), (OLD, OLD), (f" {LIVE}", LIVE)])
def test_the_live_or_the_named_version_scores(store: str, asked: str, version: str) -> None:
    found = parameters(store, version=asked)

    assert found["model_version"] == version
    assert found["archive_uri"].endswith(f"package-{version}/m.mar")
    assert found["archive_sha256"] == sha256(b"123456789").hexdigest()


def test_the_pipeline_takes_what_it_is_given(store: str) -> None:
    found = parameters(
        store,
        text_columns='["title", "body"]',
        allowed_sources='["/data"]',
        allowed_outputs=json.dumps([store]),
        workers="3",
        shard_rows="500",
        step_resources={"cpu": "1", "memory": "2Gi", "accelerator_type": "nvidia.com/gpu", "accelerator_count": "0"},
    )

    bound = bind(read_pipeline_spec(PIPELINE), found)
    assert bound["reading"] == {"text_column": ["title", "body"], "labels": {"0": "bad", "1": "good"}}
    assert (bound["allowed_sources"], bound["workers"], bound["shard_rows"]) == (["/data"], 3, 500)


def test_what_was_begun_is_gone_on_with_though_another_version_is_live_by_now(store: str) -> None:
    write_plan(store)

    assert parameters(store)["model_version"] == OLD
    assert parameters(store, version=LIVE)["model_version"] == LIVE, "the pipeline says that the folder is another's"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_uri": "/etc/passwd", "allowed_sources": ["/data"]}, "/etc/passwd is not read on behalf of a form"),
        ({"output_uri": "/etc/cron.d", "allowed_outputs": ["/data"]}, "/etc/cron.d is not written on behalf of a form"),
        ({"data_uri": "s3://me:secret@bucket/x"}, "holds a user, password or signature"),
        ({"output_uri": "s3://me:secret@bucket/x"}, "no user, password or signature"),
        ({"data_uri": " "}, "The data is empty"),
        ({"output_uri": " "}, "The output is empty"),
        ({"version": "newest"}, "neither 14 digits nor `live`"),
        ({"version": "20200101000000"}, f"not in the registry; the newest there are {LIVE}, {OLD}"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_run_starts(
    store: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        parameters(store, **settings)
    assert "me:" not in str(caught.value)


def test_nothing_is_live(store: str, serving: Any) -> None:
    serving.live = None
    with pytest.raises(InvalidRequestError, match="No version of reviews is live"):
        parameters(store)


def test_a_version_whose_files_were_deleted_or_changed_does_not_score(store: str, registry: Any) -> None:
    registry.add_facts(MODEL, OLD, {"archive_deleted_at": "2026-03-01T04:00:00+00:00"})
    with pytest.raises(InvalidRequestError, match="its archive was deleted"):
        parameters(store, version=OLD)
    document = Path(store.removeprefix("file://"), LIVE, "candidate.json")
    document.write_text(document.read_text().replace("a private text", "another"))
    with pytest.raises(ReleaseRefusedError, match="was judged by the gate"):
        parameters(store)


def test_a_folder_with_something_else_in_the_place_of_a_plan_is_refused(store: str) -> None:
    write_plan(store, version=5)

    with pytest.raises(InvalidRequestError, match="Choose an empty folder"):
        parameters(store)


def test_it_tells_how_many_rows_have_a_prediction(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunPipelineOperator, "execute_complete", lambda self, context, event: "run-1")
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    predict = operator(store)

    assert predict.execute_complete(context, {}) == "run-1"
    assert pushed == {}, "it cannot be read from here, and the run has succeeded all the same"

    document = {
        "schema_version": 1, "created_at": "2026-01-02T00:00:00+00:00", "model": MODEL, "version": LIVE,
        "archive_sha256": "a" * 64, "plan_sha256": "c" * 64, "data_uri": "/data/reviews.csv", "rows": 10,
        "predicted": 8, "rejected": 2, "reasons": {"the text is empty": 2}, "truncated": 0,
        "label_counts": {"good": 8}, "seconds": 1.0, "files": [], "rejected_files": [],
    }  # fmt: skip
    folder = Path(store.removeprefix("file://"), "predictions", "today")
    folder.mkdir(parents=True)
    (folder / "predictions.json").write_text(json.dumps(document))
    predict.execute_complete(context, {})

    uri = f"{store}/predictions/today"
    assert pushed == {"predictions": {"uri": uri, "version": LIVE, "rows": 10, "predicted": 8, "rejected": 2}}
