"""The steps that make a training pipeline a whole release without Airflow; include.pipelines.release_in_kubeflow."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from include.classifier.data.sources import as_uri
from include.classifier.progress import report
from include.classifier.steps import CANDIDATE
from include.contracts.kinds.text_classifier import GoldenExample, TextClassifierCandidate
from include.contracts.registry_tags import PIPELINE_RUN_FACT, PIPELINE_TRIGGER, TRIGGER_FACT, ReleaseState
from include.contracts.rules.gate import decide
from include.contracts.settings import DataConfig, GateConfig, TrainingConfig
from include.contracts.version import release_marks as marks
from include.contracts.version.claims import claim_version
from include.contracts.version.evidence import Evidence, EvidenceError, insist_on_digest
from include.contracts.version.files import permissions_explained
from include.contracts.version.numbers import version_of
from include.contracts.version.runtimes import cluster_runtime
from include.release_in_kubeflow.inference_service import DeploymentError, InferenceService, storage_uri
from include.release_in_kubeflow.registry import RUN_ID_VARIABLE, registry_of

#: Largest difference between a served and a recorded probability: other machines round otherwise.
PROBABILITY_TOLERANCE = 0.01


class NotGoodEnoughError(RuntimeError):
    """The candidate is rejected; nothing was deployed."""


class Release(NamedTuple):
    """Where a release lies, what it is compared with, and who reads its data; all are parameters of later steps.

    :param how: ``whole``: the data set is written; ``parts``: it still has to be read, in parts, and merged.
    :param parts: their numbers; empty where it is written.
    :param request: what they are read with, :class:`include.classifier.preprocess_steps.Request`.
    :param seed: decides which rows are split off where no evaluation data is given.
    """

    model_version: str
    output_uri: str
    dataset_uri: str
    live_uri: str
    how: str
    parts: list[str]
    request: dict[str, str]
    seed: int


@permissions_explained()
def load_data_step(
    *,
    data: Mapping[str, Any],
    training: Mapping[str, Any],
    model_name: str,
    model_version: str,
    store_uri: str,
    tracking_uri: str,
    registry_uri: str = "",
) -> Release:
    """Write the data set of a release, and find the live model to compare with.

    With ``data.parallel_files`` above one it is only planned here, and read by steps of its own.

    :param data: section ``data`` of a model's YAML.
    :param training: section ``training``, whose seed is that of the split as well.
    :param model_version: 14 digits; empty for the present time. The release gets it, or the next second that no
        other one has.
    :param store_uri: the model store; the release gets a folder in it.
    :param tracking_uri: of MLflow; empty for none.
    :param registry_uri: of Kubeflow's Model Registry; empty: releases are recorded in MLflow, where there is one.
    """
    import fsspec

    from include.classifier.preprocess import preprocess
    from include.classifier.preprocess_steps import Request, plan_step

    models = f"{as_uri(store_uri)}/{model_name}"
    store, path = fsspec.core.url_to_fs(models)
    asked = model_version or version_of(datetime.now(UTC))
    version = claim_version(store, path, asked, mark=str(uuid4()), run="release-in-kubeflow")
    folder = f"{models}/{version}"
    seed = TrainingConfig.model_validate(dict(training)).seed
    settings = DataConfig.model_validate(_in_order(data))
    as_of = datetime.strptime(version, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    requests_uri = models if settings.labelled_requests else ""
    parts: list[str] = []
    request: dict[str, str] = {}
    if settings.parallel_files > 1:
        reading = Request(
            data=settings.model_dump_json(),
            output_uri=f"{folder}/dataset",
            as_of=as_of.isoformat(),
            requests_uri=requests_uri,
        )
        parts, request = plan_step(reading, parts=settings.parallel_files), asdict(reading)
    else:
        preprocess(
            settings,
            model=model_name,
            seed=seed,
            output_uri=f"{folder}/dataset",
            as_of=as_of,
            requests_uri=requests_uri or None,
        )
    live = registry_of(tracking_uri, registry_uri).live_package(model_name)
    report(f"load data: {model_name} {version} will be compared with {live or 'no live model: there is none'}")
    how = "parts" if parts else "whole"
    return Release(version, folder, f"{folder}/dataset/dataset.json", live, how, parts, request, seed)


def _in_order(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the labels in the order of their keys, which is that of the classes.

    The object of a pipeline's parameter has none: it would be another one in each run.
    """
    labels = data.get("labels")
    return dict(data) | ({"labels": dict(sorted(labels.items()))} if isinstance(labels, Mapping) else {})


@permissions_explained()
def register_step(
    *,
    output_uri: str,
    tracking_uri: str,
    min_macro_f1: float,
    max_regression: float,
    when_inconclusive: str = "reject",
    gate: Mapping[str, Any] | None = None,
    registry_uri: str = "",
) -> dict[str, str]:
    """Register the candidate, or reject it; the rules are the gate's of a release with Airflow.

    :param min_macro_f1: on the evaluation rows, at least.
    :param max_regression: how much macro F1 may lie below the live model's on the same rows.
    :param when_inconclusive: ``reject`` or ``release``, where the interval holds both sides of that margin.
    :param gate: other conditions, see :class:`~include.contracts.settings.GateConfig`; default: its defaults.
    :return: the digests of what it has judged: the steps after it insist on them.
    :raises NotGoodEnoughError: when it is rejected; the registry says so as well.
    :raises EvidenceError: when the archive is not the one that was evaluated, or other files were judged before.
    """
    candidate, sha256 = _read_candidate(output_uri)
    found = _evidence(output_uri, candidate, sha256)
    releases = registry_of(tracking_uri, registry_uri)
    if before := releases.judged(candidate.model, candidate.version):
        insist_on_digest(_candidate_uri(output_uri), found.candidate_sha256, before)
    conditions = dict(gate or {})
    if candidate.comparison:  # its interval was made as this run was asked to
        conditions["confidence"] = candidate.comparison.confidence
    conditions |= {
        "min_macro_f1": min_macro_f1,
        "max_regression": max_regression,
        "when_inconclusive": when_inconclusive,
    }
    live = releases.live_version(candidate.model) or None
    decision = decide(candidate, GateConfig.model_validate(conditions), live_version=live)
    state = ReleaseState.CANDIDATE if decision.accepted else ReleaseState.REJECTED
    origin = {TRIGGER_FACT: PIPELINE_TRIGGER, PIPELINE_RUN_FACT: os.environ.get(RUN_ID_VARIABLE, "")}
    releases.register(candidate, state=state, reason=decision.text, **found.facts(), **origin)
    if not decision.accepted:
        raise NotGoodEnoughError(f"{candidate.model} {candidate.version} is {decision.text}.")
    report(f"register: {candidate.model} {candidate.version} is {decision.line}")
    return found.to_json()


@permissions_explained()
def deploy_step(
    *,
    output_uri: str,
    judged: Mapping[str, str],
    tracking_uri: str,
    volume: str,
    runtime: str,
    namespace: str = "",
    service_account: str = "",
    cpu: str = "1",
    memory: str = "2Gi",
    min_replicas: int = 1,
    service: InferenceService | None = None,
    registry_uri: str = "",
) -> None:
    """Deploy the package with KServe and wait until the new version answers.

    :param judged: what :func:`register_step` returned.
    :param volume: persistent volume claim that holds the store; of no account with an object store.
    :param runtime: ServingRuntime or ClusterServingRuntime of the serving image.
    :param service_account: of the serving pods, for example one with the credentials of the object store.
    :raises EvidenceError: when a file is not what was judged.
    :raises DeploymentError: when it does not; the version before has been put back.
    """
    candidate, sha256 = _read_candidate(output_uri)
    _insist(output_uri, candidate, sha256, judged)
    model, version = candidate.model, candidate.version
    predictor = predictor_of(
        candidate,
        volume=volume,
        runtime=runtime,
        service_account=service_account,
        resources={"cpu": cpu, "memory": memory},
        min_replicas=min_replicas,
    )
    try:
        (service or InferenceService(model, namespace=namespace)).deploy(version, predictor)
    except DeploymentError as error:
        registry_of(tracking_uri, registry_uri).set_state(model, version, ReleaseState.FAILED, reason=str(error)[:500])
        raise
    report(f"deploy: {model} {version} answers")


def predictor_of(
    candidate: TextClassifierCandidate,
    *,
    volume: str,
    runtime: str,
    service_account: str,
    resources: Mapping[str, str],
    min_replicas: int,
) -> dict[str, Any]:
    """Return the ``spec.predictor`` that serves a candidate; parameters as those of :func:`deploy_step`."""
    archive = candidate.archive
    predictor: dict[str, Any] = {
        "annotations": {marks.ARCHIVE_URI: archive.uri, marks.ARCHIVE_SHA256: archive.sha256},
        "minReplicas": min_replicas,
        # A model has no business with the Kubernetes API.
        "automountServiceAccountToken": False,
        "model": {
            "modelFormat": {"name": "pytorch"},
            "runtime": cluster_runtime(runtime, candidate.runtime),
            "protocolVersion": "v1",
            "storageUri": storage_uri(archive.uri, volume=volume),
            "resources": {"requests": dict(resources), "limits": dict(resources)},
            "env": [{"name": marks.ARCHIVE_SHA256_VARIABLE, "value": archive.sha256}],
        },
    }
    return predictor | ({"serviceAccountName": service_account} if service_account else {})


def predict_step(
    *,
    output_uri: str,
    judged: Mapping[str, str],
    tracking_uri: str,
    namespace: str = "",
    service: InferenceService | None = None,
    registry_uri: str = "",
) -> dict[str, int]:
    """Ask the deployed model the golden examples; put the version before back when it answers wrongly.

    :param judged: what :func:`register_step` returned.
    :return: label -> how many of the answers; no text is printed or returned.
    :raises DeploymentError: naming the row that is wrong, or the file that cannot be read, or is not what was judged.
    """
    candidate, sha256 = _read_candidate(output_uri)
    model, version = candidate.model, candidate.version
    service = service or InferenceService(model, namespace=namespace)
    try:
        _insist(output_uri, candidate, sha256, judged)
        labels = _check_golden_examples(service, candidate)
    except (DeploymentError, EvidenceError, OSError) as error:
        message = f"{model} {version} answers wrongly: {error}. {service.put_back(version)}"
        registry_of(tracking_uri, registry_uri).set_state(
            model, version, ReleaseState.ROLLED_BACK, reason=message[:500]
        )
        raise DeploymentError(message) from None
    registry_of(tracking_uri, registry_uri).set_state(
        model, version, ReleaseState.LIVE, reason="released by its pipeline"
    )
    counts = dict(sorted(Counter(labels).items()))
    report(f"predict: {len(labels)} golden examples as recorded ({counts}); {model} {version} is live")
    return counts


def read_candidate(output_uri: str) -> TextClassifierCandidate:
    """Return the release's ``candidate.json``, checked."""
    return _read_candidate(output_uri)[0]


def _read_candidate(output_uri: str) -> tuple[TextClassifierCandidate, str]:
    """Return the release's ``candidate.json``, checked, and the SHA-256 of what was read."""
    import fsspec

    uri = _candidate_uri(output_uri)
    with fsspec.open(uri, "rb") as file:
        content = file.read()
    return TextClassifierCandidate.parse(content.decode("utf-8"), where=uri), hashlib.sha256(content).hexdigest()


def _evidence(output_uri: str, candidate: TextClassifierCandidate, sha256: str) -> Evidence:
    """Return the digests of the candidate's files.

    :param sha256: of its document as it was read: the one in the store may be another by now.
    """
    uri = _candidate_uri(output_uri)
    return Evidence.gather(candidate, uri, lambda file: sha256 if file == uri else _sha256(file))


def _insist(output_uri: str, candidate: TextClassifierCandidate, sha256: str, judged: Mapping[str, str]) -> None:
    """Make sure that the candidate and its files are what was judged."""
    found = _evidence(output_uri, candidate, sha256)
    found.insist(candidate, _candidate_uri(output_uri), Evidence(**judged))


def _candidate_uri(output_uri: str) -> str:
    return f"{as_uri(output_uri)}/{CANDIDATE}"


def _sha256(uri: str) -> str:
    import fsspec

    with fsspec.open(uri, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_golden_examples(service: InferenceService, candidate: TextClassifierCandidate) -> list[str]:
    """Return the labels that the service answers.

    :raises DeploymentError: at the first answer that is not as recorded.
    """
    examples = candidate.golden_examples
    answer = service.predict([example.text for example in examples], tries=3, top_k=len(examples[0].probabilities))
    if answer.status != 200 or len(answer.predictions) != len(examples):
        raise DeploymentError(
            f"{len(examples)} golden examples gave {len(answer.predictions)} predictions with HTTP status "
            f"{answer.status or 'none'}"
        )
    for row, (example, found) in enumerate(zip(examples, answer.predictions, strict=True), start=1):
        _check_row(row, example, found, candidate.version)
    if kernel := answer.predictions[0].get("computed_in"):
        report(f"predict: the server's processor lacks what the model was packed for: it computes in {kernel}")
    return [str(found["label"]) for found in answer.predictions]


def _check_row(row: int, example: GoldenExample, found: Mapping[str, Any], version: str) -> None:
    if found.get("version") != version:
        raise DeploymentError(f"row {row} was answered by another version")
    try:
        expected = example.expected_in(found.get("computed_in"))
    except (KeyError, TypeError):  # TypeError: what stands there is no name.
        raise DeploymentError(f"row {row} was computed in a kernel for which no answer is recorded") from None
    if found.get("label") != expected.label:
        raise DeploymentError(f"row {row} should be {expected.label!r} and is another label")
    probabilities = found.get("probabilities") or {}
    difference = max(abs(value - probabilities.get(label, 0.0)) for label, value in expected.probabilities.items())
    if difference > PROBABILITY_TOLERANCE:
        raise DeploymentError(
            f"probabilities of row {row} differ by {difference:.4f}, allowed are {PROBABILITY_TOLERANCE:g}"
        )
