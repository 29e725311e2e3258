"""A real search with a real model: bad present settings are found out, without one look at the evaluation rows."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import Split, write_dataset
from include.classifier.data.problems import DataError
from include.classifier.search.katib import job
from include.classifier.search.katib.cluster import Katib as KatibClient
from include.classifier.search.katib.outcomes import told_by
from include.classifier.search.steps import search_step
from include.contracts.search.document import SearchDocument
from tests.doubles.katib import Ending, Katib
from tests.doubles.kubernetes import cluster
from tests.doubles.kubernetes.resources import PODS

LABELS = ["bad", "good"]
WORDS = [("awful", "rude", "slow", "dirty", "cold"), ("superb", "kind", "quick", "clean", "warm")]
ROWS = [
    (f"The {thing} was {word}, {rest}.", label)
    for label, words in enumerate(WORDS)
    for word, thing, rest in itertools.product(
        words, ("food", "waiter", "place", "room"), ("I think", "as always", "really", "again")
    )
]
ID = "20261130090000"

#: A learning rate at which nothing is learnt in so few steps: the injected fault.
BAD = {"learning_rate": 1e-6, "epochs": 3, "batch_size": 16, "max_length": 16}
#: What is tried instead can learn.
SEARCH = {
    "space": {"learning_rate": {"low": 3e-3, "high": 6e-3}, "batch_size": {"choices": [8, 16]}},
    "trials": 3,
    "minutes": 60,
    "early_stop": "none",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a data set whose evaluation rows cannot be read any more."""
    folder = tmp_path_factory.mktemp("search")
    texts, labels = [text for text, _ in ROWS], [label for _, label in ROWS]
    evaluation = Split([f"{word} meal {index}" for word in LABELS for index in range(5)], [0] * 5 + [1] * 5)
    write_dataset(
        f"{folder.as_uri()}/dataset",
        model="reviews",
        label_names=LABELS,
        splits={"train": Split(texts, labels), "evaluation": evaluation},
        sources=[],
        rows_in=len(texts) + 10,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    (folder / "dataset" / "evaluation.parquet").unlink()
    return folder


def run(folder: Path, name: str = "one", settings: Mapping[str, Any] = SEARCH, **changes: Any) -> SearchDocument:
    asked: dict[str, Any] = {
        "dataset_uri": f"{folder.as_uri()}/dataset/dataset.json",
        "output_uri": f"{folder.as_uri()}/{name}",
        "model_name": "reviews",
        "search_id": ID,
        "training": BAD,
        "settings": settings,
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "code_revision": "abc123",
    }
    return search_step(**(asked | changes))


@pytest.mark.long
def test_present_settings_that_are_bad_are_replaced_by_better_ones_that_are_shown_to_be(folder: Path) -> None:
    found = run(folder)

    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert found.trials[0].settings == {"learning_rate": 1e-6, "batch_size": 16}
    assert (found.dataset.train_rows, found.dataset.validation_rows) == (128, 32)
    best = found.trial(found.best)
    assert found.is_better and found.is_shown
    assert best.value is not None and best.value > 0.9 > 0.7 > (found.trials[0].value or 0)
    assert found.form == {**best.settings, "settings_from": f"search {ID}"}
    written = json.loads((folder / "one" / "search.json").read_text())
    assert SearchDocument.read(written, where="search.json") == found
    assert "trial" in (folder / "one" / "report.html").read_text()

    from mlflow import MlflowClient

    tracked = MlflowClient(f"sqlite:///{folder}/mlflow.db").get_run(str(best.tracking_run_id))
    assert tracked.info.status == "FINISHED"
    assert tracked.data.tags["search"] == ID
    assert float(tracked.data.params["learning_rate"]) == best.settings["learning_rate"]
    assert tracked.data.metrics["validation_macro_f1"] > 0.9

    # Once more: nothing is trained, and the same is found.
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("a trial was started")

    again = run(folder, start=refuse)
    assert again.trials == found.trials

    with pytest.raises(DataError, match="was begun with other data, settings, bounds or seed"):
        run(folder, training={**BAD, "seed": 7})


@pytest.mark.long
def test_with_katib_the_same_document_is_written(folder: Path) -> None:
    uri = f"{folder.as_uri()}/three"

    def trains(name: str, values: dict[str, str]) -> Ending:
        (found,) = [each for each in katib.jobs() if each["metadata"]["name"] == name]
        line = found["spec"]["template"]["spec"]["containers"][0]["command"][2]
        python, _, module, *arguments = shlex.split(line)
        assert (python, module) == ("python", job.__name__)
        assert job.main(arguments) == 0
        told = told_by(uri, name)
        assert told is not None
        return Ending(values=tuple(told.course))

    katib: Katib
    with cluster() as k8s:
        pod = {"metadata": {"name": "step"}, "spec": {"containers": [{"name": "main", "image": "training:1"}]}}
        k8s.store.create(PODS, pod, k8s.namespace)
        katib = Katib(k8s, trains)
        client = KatibClient(pod="step", namespace=k8s.namespace, api=k8s.api_client())
        found = run(folder, "three", settings={**SEARCH, "engine": "katib"}, katib=client)

    assert len(katib.created) == 1
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    best = found.trial(found.best)
    assert found.is_better and found.is_shown
    assert found.trials[1].difference is not None and found.trials[2].difference is not None
    assert found.form == {**best.settings, "settings_from": f"search {ID}"}

    from mlflow import MlflowClient

    tracked = MlflowClient(f"sqlite:///{folder}/mlflow.db").get_run(str(best.tracking_run_id))
    assert tracked.info.status == "FINISHED"
