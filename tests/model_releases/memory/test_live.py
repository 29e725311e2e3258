"""What a serving system has forgotten is told by the registry."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import LiveVersionUnknownError
from kubeflow_provider.services import ModelVersion
from model_releases.memory.live import find_live
from model_releases.registry.service import Release

VERSION = "20260102000000"
RELEASE = Release(
    model="reviews",
    version=VERSION,
    state=ReleaseState.LIVE,
    archive_uri="s3://models/reviews/package",
    facts={"archive_sha256": "a" * 64},
)


class Serving:
    def __init__(self) -> None:
        self.told: list[ModelVersion | None] = []

    def get_live(self, model: str) -> Any:
        if not self.told:
            raise LiveVersionUnknownError("the record was broken")
        return self.told[-1]

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        self.told.append(version)


ON_NATIVE = replace(RELEASE, facts={**RELEASE.facts, "serving_runtime": "native"})


@pytest.mark.parametrize(("recorded", "runtime"), [(RELEASE, "torchserve"), (ON_NATIVE, "native"), (None, None)])
def test_it_is_put_back_as_the_registry_knows_it(recorded: Release | None, runtime: str | None) -> None:
    serving, registry = Serving(), SimpleNamespace(get_live=lambda model: recorded)
    found = find_live(serving, registry, "reviews", settings={"workers": 2})  # type: ignore[arg-type]
    assert serving.told == [found]
    if recorded is None:
        assert found is None
    else:
        assert (found.version, found.archive_uri) == (VERSION, recorded.archive_uri)
        assert found.archive_sha256 == "a" * 64
        assert found.settings == {"workers": 2, "runtime": runtime}


@pytest.mark.parametrize(
    ("fact", "expected"),
    [('{"format": "onnx"}', {"format": "onnx", "protocol": "v2"}), ("broken", {"format": "a", "protocol": "v2"})],
)
def test_it_is_served_in_the_format_that_it_was_released_in(fact: str, expected: dict[str, str]) -> None:
    serving = Serving()
    recorded = replace(RELEASE, facts={**RELEASE.facts, "predictor": fact})
    registry: Any = SimpleNamespace(get_live=lambda model: recorded)
    find_live(serving, registry, "iris", settings={"predictor": {"format": "a", "protocol": "v2"}})  # type: ignore[arg-type]
    assert serving.told[0] is not None
    assert serving.told[0].settings == {"predictor": expected}


def test_a_service_that_forgets_nothing_is_not_told() -> None:
    serving: Any = SimpleNamespace(get_live=Serving().get_live)
    with pytest.raises(LiveVersionUnknownError):
        find_live(serving, SimpleNamespace(), "reviews")  # type: ignore[arg-type]
