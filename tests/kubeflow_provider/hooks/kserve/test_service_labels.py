"""Labels of the service that users call: set when it is made, and never on one that is there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.hooks._kserve.releases import specs
from kubeflow_provider.hooks._kserve.releases.snapshots import Snapshots
from kubeflow_provider.hooks._kserve.releases.traffic import Traffic
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from tests.kserve_support import version_of

MODEL, FIRST, SECOND = "reviews", "20260101000000", "20260102000000"
LABELS = {"registry.example/id": "7", "app.kubernetes.io/managed-by": "somebody"}


class Api:
    """One service, kept predictors, and what was changed of the service."""

    namespace = "team"

    def __init__(self) -> None:
        self.service: dict[str, Any] = {}
        self.snapshots: dict[str, Any] = {}
        self.changed: list[set[str]] = []

    def get_snapshot(self, name: str) -> Any:
        return self.snapshots.get(name)

    def put_snapshot(self, snapshot: Any) -> None:
        self.snapshots[snapshot["metadata"]["name"]] = snapshot

    def get_service(self, name: str) -> Any:
        return self.service

    def create_service(self, service: Any) -> Any:
        self.service = copy.deepcopy(service)
        return self.service

    def change_service(self, name: str, edit: Callable[[Any], None]) -> Any:
        before = copy.deepcopy(self.service)
        edit(self.service)
        self.changed.append({part for part in self.service if self.service[part] != before.get(part)})
        return self.service


@pytest.mark.parametrize("mode", list(Mode))
def test_they_are_set_at_its_creation_and_no_change_carries_any(mode: Mode) -> None:
    api = Api()
    snapshots = Snapshots(api)  # type: ignore[arg-type]
    traffic = Traffic(
        api,  # type: ignore[arg-type]
        snapshots,
        wait_until_ready=lambda model: None,
        poll_seconds=0.0,
        send_back_seconds=0.0,
    )
    for version in (FIRST, SECOND):
        predictor = specs.predictor(version_of(MODEL, version), PredictorSettings(), mode=None)
        snapshots.put(MODEL, version, predictor, service_labels=LABELS)
    traffic.start(MODEL, FIRST, annotations={"serving.kserve.io/deploymentMode": mode.value}, mode=mode)
    labels = api.service["metadata"]["labels"]
    assert labels == {"registry.example/id": "7", "app.kubernetes.io/managed-by": "airflow-provider-kubeflow"}
    assert not LABELS.keys() & api.service["spec"]["predictor"]["labels"].keys()

    traffic.shift(MODEL, SECOND, 100)
    assert traffic.take_back(MODEL, api.service, candidate=SECOND, previous=FIRST)

    assert api.changed
    assert all(parts <= {"spec"} for parts in api.changed)
    assert api.service["metadata"]["labels"] == labels


def test_one_that_is_made_again_gets_them_from_what_is_kept() -> None:
    api = Api()
    snapshots = Snapshots(api)  # type: ignore[arg-type]
    snapshots.put(MODEL, FIRST, {"labels": {}, "annotations": {}}, service_labels=LABELS)
    snapshots.put(MODEL, SECOND, {"labels": {}, "annotations": {}})

    assert snapshots.service_labels(MODEL, FIRST) == LABELS
    assert snapshots.service_labels(MODEL, SECOND) == snapshots.service_labels(MODEL, "20260103000000") == {}
    assert snapshots.get(MODEL, FIRST) == {"labels": {}, "annotations": {}}
