"""A version is served on what it was judged on, and not on what the YAML says by then."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.settings import ServingConfig
from include.contracts.version.runtimes import (
    SERVING_RUNTIMES,
    UNNAMED_RUNTIME,
    Runtime,
    cluster_runtime,
    served_on,
)
from tests import candidates


@pytest.mark.parametrize(
    ("settings", "runtime", "expected"),
    [
        ({"workers": 2}, None, {"workers": 2}),
        ({"workers": 2}, "native", {"workers": 2, "runtime": "native"}),
        (
            {"runtime": "native", "kserve": {"cpu": "2", "runtime": "kubeflow-model-release-native"}},
            "torchserve",
            {"runtime": "torchserve", "kserve": {"cpu": "2", "runtime": "kubeflow-model-release"}},
        ),
        (
            {"runtime": "torchserve", "kserve": {"runtime": "our-own"}},
            "native",
            {"runtime": "native", "kserve": {"runtime": "our-own"}},
        ),
        ({"kserve": None}, "native", {"kserve": None, "runtime": "native"}),
    ],
)
def test_the_judged_runtime_goes_before_the_yaml(
    settings: dict[str, Any], runtime: str | None, expected: dict[str, Any]
) -> None:
    assert served_on(settings, runtime) == expected


def test_a_runtime_of_the_clusters_own_stays() -> None:
    assert cluster_runtime("kubeflow-model-release", "native") == "kubeflow-model-release-native"
    assert cluster_runtime("kubeflow-model-release-native", "torchserve") == "kubeflow-model-release"
    assert cluster_runtime("our-own", "native") == "our-own"


def test_a_document_that_says_nothing_means_torchserve() -> None:
    document = candidates.document()
    before = TextClassifierCandidate.read(document, where="here")
    document["serving"]["runtime"] = "native"
    now = TextClassifierCandidate.read(document, where="here")
    assert (before.runtime, now.runtime) == ("torchserve", "native")
    assert [each.facts()["serving_runtime"] for each in (before, now)] == ["torchserve", "native"]


def test_a_model_that_names_no_runtime_stays_where_it_is() -> None:
    # Whatever new models are told: this one is not theirs.
    assert UNNAMED_RUNTIME == "torchserve"
    assert ServingConfig().runtime == UNNAMED_RUNTIME
    assert get_args(ServingConfig.model_fields["runtime"].annotation) == get_args(Runtime)
    assert set(SERVING_RUNTIMES) == set(get_args(Runtime))
