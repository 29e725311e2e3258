"""The steps of the training pipeline as plain functions; the components of include/pipelines only call them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from include.classifier.data.dataset import read_dataset, read_sample, read_slices, read_split, slice_rules
from include.classifier.data.sources import as_uri, write_whole
from include.classifier.progress import report
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.metrics import MAIN_METRICS
from include.contracts.monitoring.shadow_settings import Replay
from include.contracts.settings import TrainingConfig
from include.contracts.version.claims import claim_attempt
from include.contracts.version.files import permissions_explained

if TYPE_CHECKING:
    from include.classifier.training.checkpoints.store import Checkpoints

CANDIDATE = "candidate.json"

#: Where the package lies below the folder of its attempt. Not beside the data set: whatever stands in the package's
#: folder is copied into every serving pod.
PACKAGE_FOLDER = "package"

#: Modules that the steps import when they need them, for a process that runs several steps and imports them once.
HEAVY_IMPORTS_OF_TRAINING = ("include.classifier.training.trainer", "include.classifier.tracking", "mlflow")
HEAVY_IMPORTS_AFTER_TRAINING = (
    "include.classifier.serving.predictor",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "jinja2",
)

#: What decides how a model behaves; recorded with each.
_PACKAGES_OF_TRAINING = ("torch", "transformers", "tokenizers", "accelerate", "numpy")
_PACKAGES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "torchserve")


class Headline(NamedTuple):
    """What a pipeline's UI shows of an evaluation.

    :param metrics: flat name -> value.
    :param labels: names in the order of the confusion matrix; of very many those that are most often mistaken.
    :param confusion: rows by true (row) and predicted (column) label.
    """

    metrics: dict[str, float]
    labels: list[str]
    confusion: list[list[int]]


@permissions_explained()
def train_step(
    *,
    dataset_uri: str,
    model_dir: str,
    training_file: str,
    model_name: str,
    model_version: str,
    settings: Mapping[str, Any],
    output_uri: str = "",
    tracking_uri: str = "",
    experiment_name: str = "",
    code_revision: str = "",
) -> None:
    """Train on the data set's training rows, or go on with a training that a step before this one has begun.

    :param dataset_uri: of ``dataset.json``.
    :param model_dir: folder that gets the model.
    :param training_file: gets what is known about the training, as JSON: the section ``training`` of ``candidate.json``
        and ``tracking_run_id``.
    :param settings: section ``training`` of a model's YAML, :class:`include.contracts.settings.TrainingConfig`.
    :param output_uri: folder of the release, where the state of the training is kept meanwhile; empty for nowhere.
    :param tracking_uri: of MLflow; empty for none.
    """
    from include.classifier.packaging.package import SAMPLE_ROWS, sample_texts
    from include.classifier.tracking import resume, tracked_run
    from include.classifier.training.fine_tuning import Training, train_on
    from include.classifier.training.nodes.training import train_over_nodes
    from include.classifier.training.problems import FINAL, FailedBeforeError
    from include.classifier.training.stored_rows import training_rows

    dataset = read_dataset(dataset_uri)
    training = TrainingConfig.model_validate(dict(settings))
    checkpoints = _checkpoints(output_uri, training, dataset["sha256"], _revision(code_revision))
    if checkpoints and (facts := checkpoints.finished(Path(model_dir))):
        report("train: this model is trained already, by a step before this one, and is taken as it is")
        resume(tracking_uri, checkpoints.tracking_run_id).end("FINISHED")
        _write_json(training_file, facts | {"tracking_run_id": checkpoints.tracking_run_id})
        return
    if checkpoints and (why := checkpoints.failed(model_dir)):
        raise FailedBeforeError(f"{why} So it was in a try before this one, and nothing was trained again.")
    tags = {
        "model": model_name,
        "version": model_version,
        "dataset_sha256": dataset["sha256"],
        "code_revision": _revision(code_revision),
    }
    run = tracked_run(
        tracking_uri,
        experiment=experiment_name or model_name,
        name=f"{model_name} {model_version}",
        tags=tags,
        run_id=checkpoints.tracking_run_id if checkpoints and checkpoints.look() else None,
    )
    # Nodes read them themselves.
    read = nullcontext() if training.nodes > 1 else training_rows(dataset, training, beside=Path(model_dir))
    with read as rows, run as tracker:
        if checkpoints:
            checkpoints.tracking_run_id = tracker.run_id
        arguments: dict[str, Any] = {
            "labels": dataset["labels"],
            "settings": training,
            "model_dir": Path(model_dir),
            "tracker": tracker,
            "checkpoints": checkpoints,
            "compared_texts": sample_texts(dataset["splits"]["evaluation"]["uri"], SAMPLE_ROWS),
        }
        try:
            if rows is None:
                facts = train_over_nodes(dataset_uri, model_name, **arguments)
            else:
                facts = train_on(Training(rows=rows, **arguments))
        except FINAL as error:
            if checkpoints:
                checkpoints.fail(model_dir, str(error))
            raise
    _write_json(training_file, facts | {"tracking_run_id": tracker.run_id})


def _checkpoints(output_uri: str, settings: TrainingConfig, dataset_sha256: str, revision: str) -> Checkpoints | None:
    """Return where the state of this training, and of no other, is kept."""
    from include.classifier.training.checkpoints.store import CHECKPOINTS_FOLDER, Checkpoints, digest_of

    # Nodes hand over what they have trained there, also where no state is kept meanwhile.
    if not output_uri or not (settings.checkpoint_minutes or settings.nodes > 1):
        return None
    identity = {
        "settings": digest_of(settings.model_dump(exclude={"checkpoint_minutes", "nodes_timeout_hours"})),
        "data": dataset_sha256,
        "code": revision,
        "packages": " ".join(f"{name}=={package_version(name)}" for name in _PACKAGES_OF_TRAINING),
    }
    uri = f"{as_uri(output_uri)}/{CHECKPOINTS_FOLDER}"
    return Checkpoints(uri, identity, every_seconds=settings.checkpoint_minutes * 60)


@permissions_explained()
def package_step(
    *,
    dataset_uri: str,
    model_dir: str,
    package_file: str,
    model_name: str,
    model_version: str,
    output_uri: str,
    serving: Mapping[str, Any],
) -> None:
    """Pack the model and try it on a real TorchServe.

    :param model_dir: what :func:`train_step` wrote.
    :param package_file: gets what is known about the package, as JSON. A file and not a parameter: it holds users'
        texts, and pipelines print parameters to their logs.
    :param output_uri: folder of the release. What was packed there before stays: the package of a second training lies
        in a folder of its own below it.
    :param serving: section ``serving`` of the model's YAML.
    """
    import fsspec

    from include.classifier.packaging.package import package

    store, path = fsspec.core.url_to_fs(as_uri(output_uri))
    attempt = claim_attempt(store, path, mark=str(uuid4()), run=f"{model_name} {model_version}")
    report(f"package: packing {model_name} {model_version} {attempt or 'attempt-1'} and trying it on TorchServe")
    facts = package(
        Path(model_dir),
        dataset=read_dataset(dataset_uri),
        model=model_name,
        version=model_version,
        output_uri=f"{_attempt_uri(output_uri, attempt)}/{PACKAGE_FOLDER}",
        serving=dict(serving),
    )
    _write_json(package_file, facts | {"attempt": attempt})


@permissions_explained()
def evaluate_step(
    *,
    dataset_uri: str,
    package_file: str,
    training_file: str,
    model_name: str,
    model_version: str,
    output_uri: str,
    live_uri: str = "",
    confidence: float = 0.95,
    tracking_uri: str = "",
    code_revision: str = "",
    shadow: Mapping[str, Any] | None = None,
) -> Headline:
    """Score the packed model against the live one and the baseline, and write ``candidate.json``, last of all.

    The document alone says which attempt it is about: it stands in the folder of the release, everything that it names
    in that of the attempt.

    :param package_file: what :func:`package_step` wrote.
    :param training_file: what :func:`train_step` wrote.
    :param live_uri: package of the live model; empty before the first release.
    :param confidence: of the intervals around the differences to the live model.
    :param shadow: which captured requests the packed model answers besides, see
        :class:`~include.contracts.monitoring.shadow_settings.Replay`; empty: none. They are part of this step because
        the package is unpacked and loaded here.
    """
    import numpy as np

    from include.classifier.evaluation.data_changes import data_changes
    from include.classifier.evaluation.predictions import write_predictions
    from include.classifier.evaluation.scoring import evaluate
    from include.classifier.evaluation.slices import slices_of
    from include.classifier.metrics import most_mistaken
    from include.classifier.report.page import CURVES, MOST_SHOWN_LABELS, make_report, write_report
    from include.classifier.tracking import resume
    from include.classifier.training.checkpoints.store import remove

    package = json.loads(Path(package_file).read_text(encoding="utf-8"))
    attempt_uri = _attempt_uri(output_uri, package.pop("attempt", ""))
    training = json.loads(Path(training_file).read_text(encoding="utf-8"))
    dataset = read_dataset(dataset_uri)
    evaluation = read_split(dataset, "evaluation")
    report(f"evaluate: scoring the package of {model_name} {model_version} on {len(evaluation.texts)} rows")
    found = evaluate(
        package["archive"]["uri"],
        candidate_sha256=package["archive"]["sha256"],
        live_uri=live_uri,
        model=model_name,
        labels=dataset["labels"],
        # From so many rows a simple model learns what there is for it to learn.
        train=read_sample(
            dataset, "train", most=training["parameters"].get("in_memory_rows", TrainingConfig().in_memory_rows)
        ),
        evaluation=evaluation,
        slices=slices_of(slice_rules(dataset), evaluation.texts, read_slices(dataset, "evaluation")),
        class_weights=training["parameters"]["class_weights"],
        confidence=confidence,
        captured=Replay.asked(shadow),
    )
    write_predictions(found.truth, found.probabilities, labels=dataset["labels"], output_uri=attempt_uri)
    headline = _headline(found.metrics)
    tracker = resume(tracking_uri, training["tracking_run_id"])
    tracker.log_metrics(headline)

    document = {
        "schema_version": 1,
        "model": model_name,
        "version": model_version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": {
            "uri": dataset_uri,
            "sha256": dataset["sha256"],
            "train_rows": dataset["splits"]["train"]["rows"],
            "evaluation_rows": dataset["splits"]["evaluation"]["rows"],
        },
        "metrics": found.metrics,
        "comparison": found.comparison,
        "worst_slice": found.worst_slice,
        "data_changes": data_changes(dataset_uri, live_uri),
        # An older installation that takes the release over knows no such section: it is there where it is asked for.
        **({"shadow": found.shadow} if found.shadow else {}),
        "training": {name: value for name, value in training.items() if name != "tracking_run_id"},
        "tracking_run_id": training["tracking_run_id"],
        "code_revision": _revision(code_revision),
        "packages": {name: package_version(name) for name in _PACKAGES},
    } | package
    curves = {name: tracker.curve(name) for name in CURVES}
    page, pictures = make_report(found, document, curves=curves)
    for name, content in {"report.html": page.encode("utf-8"), **pictures}.items():
        tracker.log_file(name, content)
    document["report_uri"] = write_report(page, attempt_uri)
    write_candidate(document, output_uri)
    remove(output_uri)
    shown = most_mistaken(found.confusion, MOST_SHOWN_LABELS)
    return Headline(
        headline, [dataset["labels"][each] for each in shown], found.confusion[np.ix_(shown, shown)].tolist()
    )


def write_candidate(document: dict[str, Any], output_uri: str) -> str:
    """Write ``candidate.json`` so that a reader sees all of it or nothing, and return its URI."""
    uri = f"{as_uri(output_uri)}/{CANDIDATE}"
    write_whole(uri, TextClassifierCandidate.dump(document, where=uri))
    report(f"evaluate: wrote {uri}")
    return uri


def _attempt_uri(output_uri: str, attempt: str) -> str:
    return f"{as_uri(output_uri)}/{attempt}".rstrip("/")


def _write_json(path: str, document: Mapping[str, Any]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{who}_{metric.name}": found[metric.name] for who, found in metrics.items() if found for metric in MAIN_METRICS
    }


def _revision(given: str) -> str:
    """Return the code's revision: as given, or as the training image was built from."""
    return given or os.environ.get("CODE_REVISION", "unknown")
