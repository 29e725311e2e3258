"""What stands in an InferenceService's spec is told from what stood there before, whoever has put it there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubeflow_provider.hooks._kserve.marks import Marks, is_applied_by_us, managers
from kubeflow_provider.hooks._kserve.observation import Observation
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.readiness import judge
from kubeflow_provider.kubernetes.inference_service import APPLIED_LABEL, FIELD_MANAGER, inference_service, marked
from kubeflow_provider.states import DeploymentState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NOT_SEEN = "it was changed 2 s ago, and KServe may not have seen that yet"
Object = dict[str, Any]


def stamp(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


def changed(manager: str, seconds_ago: float, operation: str = "Update", **more: Any) -> Object:
    return {"manager": manager, "operation": operation, "time": stamp(seconds_ago), "fieldsV1": {"f:spec": {}}, **more}


def service(*changes: Object, mode: str = "Standard", is_marked: bool = False, **spec: Any) -> Object:
    made = inference_service("iris", "models", {"model": {"storageUri": "s3://iris"}})
    made = marked(made) if is_marked else made
    made["spec"] |= spec
    made["metadata"] |= {"managedFields": list(changes), "creationTimestamp": stamp(1000)}
    conditions = [{"type": "Ready", "status": "True"}, {"type": "IngressReady", "status": "True"}]
    made["status"] = {"deploymentMode": mode, "conditions": conditions}
    return made


def pod(template: str = "new", *, age: float = 5, ready: bool = True, **labels: str) -> Object:
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(age)}]
    all_labels = {"app": "isvc.iris-predictor", "pod-template-hash": template, **labels}
    metadata = {"name": f"iris-{template}", "labels": all_labels, "creationTimestamp": stamp(age)}
    return {"metadata": metadata, "status": {"conditions": conditions, "containerStatuses": []}}


def deployment(**labels: str) -> Object:
    counts = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    template = {"metadata": {"labels": labels}}
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1, "template": template}, "status": counts}


def obstacle(made: Object, *pods: Object, **seen: Any) -> str | None:
    seen = {"deployments": [deployment()], **seen}
    return judge(Observation(service=made, pods=pods, now=NOW, **seen), Patience()).reason


def test_the_spec_is_as_old_as_its_last_change() -> None:
    finalizers = changed("manager", 2) | {"fieldsV1": {"f:metadata": {}}}
    made = service(changed("kubectl", 30), finalizers, changed("manager", 1, subresource="status"))

    assert Marks.of(made).since == NOW - timedelta(seconds=30)
    assert Marks.of(service()).since == NOW - timedelta(seconds=1000)
    assert managers(made) == ["kubectl"]


@pytest.mark.parametrize(
    ("changes", "is_certain", "is_ours"),
    [
        ([changed(FIELD_MANAGER, 5, "Apply")], True, True),
        ([changed(FIELD_MANAGER, 5, "Apply"), changed("kubectl", 5)], False, True),
        ([changed(FIELD_MANAGER, 5, "Apply"), changed("kubectl", 9)], True, True),
        ([changed(FIELD_MANAGER, 5, "Update")], True, False),
        ([changed("kubectl", 5, "Apply")], False, False),
    ],
)
def test_a_mark_is_certain_until_others_change_the_spec(changes: list[Object], is_certain: bool, is_ours: bool) -> None:
    made = service(*changes, is_marked=True)
    assert (Marks.of(made).is_certain, is_applied_by_us(made)) == (is_certain, is_ours)


def test_what_others_have_changed_kserve_is_given_time_to_see() -> None:
    assert (
        obstacle(service(changed("kubectl", 2)), pod())
        == "it was changed 2 s ago, and KServe may not have seen that yet"
    )
    assert obstacle(service(changed("kubectl", 6)), pod()) is None


def test_of_unmarked_pods_those_of_the_youngest_template_count() -> None:
    made = service(changed("kubectl", 60))
    assert obstacle(made, pod("old", age=900), pod("new", ready=False)) == "none of its 1 pod(s) is ready"
    assert obstacle(made, pod("old", age=900, ready=False), pod("new")) is None


def test_marked_pods_are_known_at_once() -> None:
    made = service(changed(FIELD_MANAGER, 0, "Apply"), is_marked=True)
    mark = made["spec"]["predictor"]["labels"][APPLIED_LABEL]
    assert obstacle(made, pod()) == "its Deployment has not been changed yet"
    marks = {APPLIED_LABEL: mark}
    assert obstacle(made, pod(**marks), deployments=[deployment(**marks)]) is None


def test_a_revision_that_sleeps_says_nothing_of_a_change() -> None:
    part = {"latestCreatedRevision": "iris-1", "latestReadyRevision": "iris-1", "latestRolledoutRevision": "iris-1"}
    traffic = [{"revisionName": "iris-1", "percent": 100}]

    def asleep(age: float) -> str | None:
        made = service(changed(FIELD_MANAGER, age, "Apply"), mode="Knative", is_marked=True)
        made["spec"]["predictor"]["minReplicas"] = 0
        made["status"]["components"] = {"predictor": {**part, "traffic": traffic}}
        return obstacle(made, deployments=[])

    assert asleep(2) == NOT_SEEN
    assert asleep(20) is None


def test_what_stands_before_or_behind_the_predictor_must_be_ready_too() -> None:
    made = service(changed("kubectl", 60), transformer={"containers": []})
    assert obstacle(made, pod()) == "its transformer is not ready: no word of it yet"
    made["status"]["conditions"].append({"type": "TransformerReady", "status": "True"})
    assert obstacle(made, pod()) is None


def test_a_stopped_service_is_not_ready() -> None:
    made = service(changed("kubectl", 60))
    made["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    seen = Observation(service=made, pods=[pod()], deployments=[deployment()], now=NOW)
    assert judge(seen, Patience()).state is DeploymentState.PENDING
    assert obstacle(made, pod()) == "it is stopped (annotation serving.kserve.io/stop)"
