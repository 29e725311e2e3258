"""What can go wrong with a candidate on KServe: noticed early, told usefully, and the live model untouched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import Behaviour, KServeSettings
from tests.doubles.kubernetes.resources import DEPLOYMENTS
from tests.kserve_support import IMAGE, KServeWorld, forget_model, kserve, release, settled, version_of

pytestmark = pytest.mark.waits

LIVE, BAD = "20260101000000", "20260202000000"
MODES = {"Knative": "Serverless", "Standard": "Standard"}

_MODELS = (f"model-{number}" for number in count())
_RUNTIMES: dict[str, dict[str, Any]] = {
    "no-image": {"image": "kubeflow-model-release:gone"},
    "no-secret": {
        "image": IMAGE,
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "token"}}}],
    },
    "other-format": {"image": IMAGE, "formats": ("sklearn",)},
}


@pytest.fixture(scope="module", params=["Standard", pytest.param("Knative", marks=pytest.mark.long)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster in each mode, in which a pod may wait two seconds for a node."""
    settings = KServeSettings(default_mode=MODES[request.param])
    with kserve(tmp_path_factory.mktemp("cluster"), settings=settings, unschedulable_seconds=2) as running:
        for name, runtime in _RUNTIMES.items():
            running.k8s.kserve.add_runtime(name, **runtime)
        yield running


@pytest.fixture
def released(world: KServeWorld) -> Iterator[str]:
    """Yield a model with a live version."""
    name = next(_MODELS)
    release(world.hook, name, LIVE)
    yield name
    world.k8s.faults.heal()
    world.models.behave(BAD, Behaviour.GOOD)
    forget_model(world.hook, name)


@pytest.fixture
def model(world: KServeWorld, released: str) -> Iterator[str]:
    """Yield a model whose live version is the same after whatever the test does to its candidate."""
    before = public_state(world, released)
    yield released
    assert public_state(world, released) == before
    assert answering(world, released) == LIVE


def public_state(world: KServeWorld, model: str) -> dict[str, Any]:
    """Return all that a candidate could harm: the live InferenceService and its Deployments, field by field."""
    service = world.k8s.kserve.service(model)
    deployments = [
        entry
        for entry in world.k8s.store.entries(DEPLOYMENTS, world.k8s.namespace)
        if entry["metadata"]["labels"]["serving.kserve.io/inferenceservice"] == model
    ]
    for entry in (service, *deployments):
        for field in ("resourceVersion", "managedFields"):
            entry["metadata"].pop(field, None)
    return {"service": service, "specs": [entry["spec"] for entry in deployments]}


def answering(world: KServeWorld, model: str) -> Any:
    answer = world.hook.predict(model, b'{"instances": ["a good place"]}')
    return answer.body["predictions"][0]["version"]


def deploy(world: KServeWorld, model: str, **settings: Any) -> Deployment:
    world.hook.deploy_candidate(version_of(model, BAD, **settings))
    return settled(world.hook, model, BAD)


Prepare = Callable[[KServeWorld, str], dict[str, Any]]


def behaves(behaviour: Behaviour) -> Prepare:
    def prepare(world: KServeWorld, model: str) -> dict[str, Any]:
        world.models.behave(BAD, behaviour)
        return {}

    return prepare


def fault(name: str) -> Prepare:
    def prepare(world: KServeWorld, model: str) -> dict[str, Any]:
        getattr(world.k8s.faults, name)(f"{model}-candidate-*")
        return {}

    return prepare


def setting(**settings: Any) -> Prepare:
    return lambda world, model: settings


def broken_download(world: KServeWorld, model: str) -> dict[str, Any]:
    world.k8s.kserve.storage.broken.add(f"s3://models/{model}/{BAD}/package")
    return {}


#: What is done to the candidate, and what the on-call person reads.
HOPELESS: dict[str, tuple[Prepare, str]] = {
    "crash": (
        behaves(Behaviour.CRASH),
        r"container kserve-container ended with exit code 1, \d restart\(s\) so far\. Its last words:\n"
        r"(.*\n)*RuntimeError: the weights do not fit the model$",
    ),
    "out of memory": (
        fault("out_of_memory"),
        r"container kserve-container ran out of memory \(exit code 137\): give it more memory",
    ),
    "image": (
        setting(runtime="no-image"),
        r"(its image kubeflow-model-release:gone cannot be pulled \((ImagePullBackOff|ErrImagePull)\)|"
        r'Unable to fetch image "kubeflow-model-release:gone")',
    ),
    "volume": (
        setting(storage={"s3://models": "pvc://absent"}),
        r'persistentvolumeclaim "absent" not found\..* Create that claim in its namespace\.',
    ),
    "secret": (
        setting(runtime="no-secret"),
        r"a Secret, ConfigMap or folder that it needs is missing \(CreateContainerConfigError\): "
        r'secret "absent" not found',
    ),
    "quota": (fault("over_quota"), r"Its pods are refused: .*exceeded quota: compute, requested: memory=4Gi"),
    "no node": (
        fault("unschedulable"),
        r"has waited \d+ s of at most 2 s for a node: 0/1 nodes are available: 1 Insufficient memory.*Ask for less",
    ),
    "download": (
        broken_download,
        r"container storage-initializer ended with exit code 1.*\n(.*\n)*RuntimeError: Failed to fetch model",
    ),
    "no runtime": (
        setting(runtime="absent"),
        r"KServe cannot serve it \(RuntimeNotRecognized\): Waiting for runtime to become available",
    ),
    "wrong runtime": (
        setting(runtime="other-format"),
        r"KServe cannot serve it \(NoSupportingRuntime\): Specified runtime does not support",
    ),
    "never answers": (
        behaves(Behaviour.NEVER_READY),
        r"its pods have been ready for \d+ s, but a prediction was answered with HTTP 503",
    ),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_is_hopeless_fails_with_its_reason_and_can_be_rolled_back(
    world: KServeWorld, model: str, case: str
) -> None:
    prepare, reason = HOPELESS[case]
    found = deploy(world, model, **prepare(world, model))

    assert found.state is DeploymentState.FAILED, found.reason
    assert found.reason
    assert re.search(reason, found.reason), found.reason
    live = world.hook.roll_back(model, candidate=BAD, previous=LIVE)
    assert live is not None
    assert (live.version, live.state) == (LIVE, DeploymentState.READY)
    assert world.hook.get_deployment(model, BAD) is None


def test_what_may_heal_is_waited_for(world: KServeWorld, model: str) -> None:
    world.k8s.faults.unschedulable(f"{model}-candidate-*")
    world.hook.deploy_candidate(version_of(model, BAD))
    found = world.hook.get_deployment(model, BAD)
    assert found is not None
    assert found.state is DeploymentState.PENDING

    world.k8s.faults.heal()
    assert settled(world.hook, model, BAD).state is DeploymentState.READY


def test_a_failed_candidate_is_made_anew_when_it_is_deployed_again(world: KServeWorld, model: str) -> None:
    world.models.behave(BAD, Behaviour.CRASH)
    assert deploy(world, model).state is DeploymentState.FAILED

    world.models.behave(BAD, Behaviour.GOOD)
    assert deploy(world, model).state is DeploymentState.READY


def test_a_candidate_that_nobody_took_away_makes_room(world: KServeWorld, model: str) -> None:
    world.hook.deploy_candidate(version_of(model, "20260102000000"))

    assert deploy(world, model).state is DeploymentState.READY
    assert world.hook.get_deployment(model, "20260102000000") is None


def test_a_refusal_of_kserve_is_told_in_its_words(world: KServeWorld, model: str) -> None:
    message = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: no'
    body = json.dumps({"kind": "Status", "message": message, "code": 403})
    world.k8s.faults.http("POST", "inferenceservices", status=403, body=body, content_type="application/json")

    with pytest.raises(InvalidRequestError, match=r"create InferenceService .*admission webhook.* denied the request"):
        world.hook.deploy_candidate(version_of(model, BAD))


def test_a_missing_right_is_told_with_the_page_that_lists_it(world: KServeWorld, model: str) -> None:
    world.k8s.faults.forbid("create", "inferenceservices")
    world.hook.access.forget()  # or what was allowed before were an outage

    with pytest.raises(
        PermissionDeniedError, match=r'cannot create resource "inferenceservices".*inference-services\.md#rights'
    ):
        world.hook.deploy_candidate(version_of(model, BAD))


def test_a_place_that_no_pod_can_read_is_refused_before_anything_is_made(world: KServeWorld, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="No pod can read ftp://"):
        world.hook.deploy_candidate(version_of(model, BAD, storage={"s3://models": "ftp://models"}))


def test_what_cannot_be_deployed_is_known_before_it_is_trained(world: KServeWorld, model: str) -> None:
    world.hook.check_candidate(version_of(model, BAD))
    with pytest.raises(InvalidRequestError, match=r"no ServingRuntime absent for namespace models, only .*no-image"):
        world.hook.check_candidate(version_of(model, BAD, runtime="absent"))
    with pytest.raises(InvalidRequestError, match=r"serving\.kserve\.storage"):
        world.hook.check_candidate(version_of(model, BAD, storage={"s3://models": "file:///mnt"}))
    with pytest.raises(InvalidRequestError, match="37 are the most"):
        world.hook.check_candidate(version_of("m" * 40, BAD))

    world.k8s.faults.forbid("list", "clusterservingruntimes")
    world.hook.check_candidate(version_of(model, BAD, runtime="perhaps-of-the-cluster"))


def test_a_conflict_is_tried_again_on_the_fresh_object(world: KServeWorld, released: str) -> None:
    assert deploy(world, released).state is DeploymentState.READY
    world.k8s.faults.http("PATCH", f"inferenceservices/{released}", status=409, times=3)
    world.hook.promote(released, BAD)

    assert settled(world.hook, released, BAD).is_live
    assert answering(world, released) == BAD


def test_a_version_that_breaks_when_it_is_promoted_never_gets_the_users(world: KServeWorld, released: str) -> None:
    assert deploy(world, released).state is DeploymentState.READY
    world.models.behave(BAD, Behaviour.CRASH)
    world.hook.promote(released, BAD)
    found = settled(world.hook, released, BAD)
    assert found.state is DeploymentState.FAILED
    assert "the weights do not fit the model" in (found.reason or "")
    assert {answering(world, released) for _ in range(10)} == {LIVE}

    live = world.hook.roll_back(released, candidate=BAD, previous=LIVE)
    assert live is not None
    assert (live.version, live.state) == (LIVE, DeploymentState.READY)
    assert {answering(world, released) for _ in range(10)} == {LIVE}


def test_the_service_of_somebody_else_is_left_alone(world: KServeWorld, released: str) -> None:
    def take_over(service: dict[str, Any]) -> None:
        del service["spec"]["predictor"]["labels"]

    world.hook._api.change_service(released, take_over)

    for question in (
        lambda: world.hook.get_live(released),
        lambda: world.hook.deploy_candidate(version_of(released, BAD)),
        lambda: world.hook.roll_back(released, candidate=LIVE, previous=None),
    ):
        with pytest.raises(InvalidRequestError, match=r"was not made by a release.*left alone"):
            question()


def test_a_mode_that_a_service_does_not_have_is_refused(world: KServeWorld, model: str) -> None:
    present = world.k8s.kserve.service(model)["status"]["deploymentMode"]
    other = "standard" if present == "Knative" else "knative"

    with pytest.raises(InvalidRequestError, match=f"is in {present} mode and stays in it"):
        world.hook.deploy_candidate(version_of(model, BAD, deployment_mode=other))


@pytest.mark.parametrize("status", [0, -1, 503])
def test_an_api_server_that_is_away_is_worth_another_try(world: KServeWorld, model: str, status: int) -> None:
    world.k8s.faults.http("POST", "inferenceservices", status=status, times=10)

    with pytest.raises(ServiceUnavailableError, match="create InferenceService"):
        world.hook.deploy_candidate(version_of(model, BAD))
    world.k8s.faults.heal()
    assert deploy(world, model).state is DeploymentState.READY


@pytest.mark.parametrize("world", ["Knative"], indirect=True)  # Standard mode has no earlier revision to go back to
def test_users_are_sent_back_even_when_the_earlier_predictor_is_not_kept(world: KServeWorld, released: str) -> None:
    assert deploy(world, released).state is DeploymentState.READY
    world.hook.promote(released, BAD)
    assert settled(world.hook, released, BAD).is_live
    world.hook._snapshots.delete(released, LIVE)

    with pytest.raises(DeploymentFailedError, match=f"{released} {LIVE} cannot be served: how is not kept any more"):
        world.hook.roll_back(released, candidate=BAD, previous=LIVE)
    assert {answering(world, released) for _ in range(10)} == {LIVE}
