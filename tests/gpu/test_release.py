"""A release that is trained, packed and served on a GPU answers as its package does on a processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.gpu_release import (
    EVALUATE,
    MODEL,
    NATIVE,
    STEPS,
    TORCHSERVE,
    TRAIN,
    VERSION,
    Release,
    base_model,
    predictions,
    release,
)
from include.classifier.packaging.archive import open_archive
from include.classifier.serving.predictor import Predictor
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.rollout import SmokeTestConfig

pytestmark = pytest.mark.gpu

#: ``smoke_test.probability_tolerance``, as it is when a model's YAML says nothing.
TOLERANCE = SmokeTestConfig().probability_tolerance
#: What CUDA's context and the smallest model take of a GPU's memory, at least.
LEAST_MIB = 100


@pytest.fixture(scope="module", params=[NATIVE, TORCHSERVE])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release for each server."""
    folder = tmp_path_factory.mktemp("release") / request.param
    rows = 200 if gpu.is_trial() else 2000
    return release(folder, runtime=request.param, rows=rows, training={"base_model": base_model()})


def test_its_steps_end_with_a_candidate(made: Release) -> None:
    document = made.candidate
    candidate = TextClassifierCandidate.read(document, where="candidate.json")

    assert list(made.seconds) == list(STEPS)
    assert (candidate.model, candidate.version, candidate.runtime) == (MODEL, VERSION, made.runtime)
    assert document["metrics"]["candidate"]["macro_f1"] > (0 if gpu.is_trial() else 0.6)
    assert "wrote" in made.printed[EVALUATE]


def test_it_is_trained_where_it_should_be(made: Release, device: str) -> None:
    assert f"train: computing on {device} in " in made.printed[TRAIN]


def test_the_server_answers_as_the_package_does_on_a_processor(made: Release, tmp_path: Path) -> None:
    document = made.candidate
    archive = document["archive"]
    folder = open_archive(made.package / archive["file"], tmp_path / "archive", sha256=archive["sha256"])
    texts = document["held_out_texts"]
    expected = Predictor.load(folder, device="cpu").predict(texts)

    before = gpu.used_mib()
    with made.served() as server:
        found = predictions(server, texts)
        used = gpu.used_mib() - before

    assert gpu.is_trial() or used > LEAST_MIB, f"the server uses {used:.0f} MiB of the GPU's memory"
    assert {answer["version"] for answer in found} == {VERSION}
    assert (
        _largest([answer["probabilities"] for answer in found], [each.probabilities for each in expected]) < TOLERANCE
    )


def test_it_answers_its_golden_examples(made: Release) -> None:
    examples = made.candidate["golden_examples"]
    with made.served() as server:
        found = predictions(server, [example["text"] for example in examples])

    assert [answer["label"] for answer in found] == [example["label"] for example in examples]
    assert (
        _largest([answer["probabilities"] for answer in found], [example["probabilities"] for example in examples])
        < TOLERANCE
    )


def _largest(found: list[dict[str, Any]], expected: list[dict[str, float]]) -> float:
    """Return the largest difference between two probabilities of one label."""
    return max(
        abs(ours[label] - value)
        for ours, theirs in zip(found, expected, strict=True)
        for label, value in theirs.items()
    )
