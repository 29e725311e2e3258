"""InferenceServices of any kind: applied, waited for, asked and deleted, and those of others left alone."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from kubeflow_provider.compat import AirflowSensorTimeout, AirflowSkipException
from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.kubernetes.inference_service import Predictor, inference_service
from kubeflow_provider.operators.inference_services import (
    ApplyInferenceServiceOperator,
    DeleteInferenceServiceOperator,
    PredictOperator,
)
from kubeflow_provider.sensors.inference_services import InferenceServiceSensor
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import Behaviour
from tests.kserve_support import IMAGE, KServeWorld, release
from tests.kubeflow_provider.operators.on_kserve.kserve_task import IN_BOTH_MODES, READING, rights_of_the_page
from tests.kubeflow_provider.operators.tries import Tries
from tests.rights import SERVING, rights

pytestmark = pytest.mark.waits

CarryOut = Callable[..., Any]
POLLS = {"poll_interval_seconds": 0.05, "timeout": timedelta(minutes=2)}
WAITS = {"poke_interval": 0.05}
BODY = {"instances": ["a good place"]}


def model(version: str = "1", **settings: Any) -> dict[str, Any]:
    return {"model_format": "sklearn", "storage_uri": f"s3://models/iris/{version}", **settings}


def answering(name: str) -> str:
    """Return which version answers, as soon as the gateway knows the service."""
    answer = PredictOperator(task_id="ask", name=name, body=BODY).execute(Tries().context())
    return str(answer["body"]["predictions"][0]["version"])


@IN_BOTH_MODES
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_model_is_served_asked_and_taken_away(
    connected: KServeWorld, name: str, carry_out: CarryOut, deferrable: bool
) -> None:
    ways = {"name": name, "deferrable": deferrable, **POLLS}
    applied = carry_out(ApplyInferenceServiceOperator, predictor=model(min_replicas=1), **ways)

    assert (applied["name"], applied["namespace"], applied["state"]) == (name, "models", "READY")
    assert applied["url"] == f"http://{name}-models.example.com"
    answer = carry_out(PredictOperator, name=name, body=json.dumps(BODY))
    assert (answer["status_code"], answer["body"]["predictions"][0]["label"]) == (200, "good")
    for was_there in (True, False):
        assert carry_out(DeleteInferenceServiceOperator, **ways) is was_there
    assert not connected.hook.inference_services.exists(name)


@IN_BOTH_MODES
def test_ready_is_what_was_applied_last(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    for version in ("1", "2", "3"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model(version), **POLLS)
        assert answering(name) == version


def test_applying_the_same_again_changes_nothing_and_what_is_left_out_goes(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    def apply(**settings: Any) -> int:
        predictor = Predictor.from_mapping(model(**settings))
        return int(carry_out(ApplyInferenceServiceOperator, name=name, predictor=predictor, **POLLS)["generation"])

    def others(service: dict[str, Any]) -> None:
        service["metadata"]["labels"] = {"team": "search"}
        service["spec"]["predictor"]["schedulerName"] = "theirs"

    first = apply(timeout_seconds=30)
    assert apply(timeout_seconds=30) == first
    connected.hook._api.change_service(name, others)
    apply()

    service = connected.k8s.kserve.service(name)
    assert "timeout" not in service["spec"]["predictor"]
    assert (service["metadata"]["labels"], service["spec"]["predictor"]["schedulerName"]) == (
        {"team": "search"},
        "theirs",
    )


@IN_BOTH_MODES
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_cannot_become_ready_fails_at_once_with_the_log_of_its_pod(
    connected: KServeWorld, name: str, carry_out: CarryOut, deferrable: bool
) -> None:
    connected.models.behave("broken", Behaviour.CRASH)
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model(), **POLLS)
    with pytest.raises(DeploymentFailedError, match=r"exit code 1(.|\n)*the weights do not fit the model"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("broken"), deferrable=deferrable, **POLLS)
    assert answering(name) == "1"


def test_a_format_that_no_runtime_knows_is_kserve_s_word(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    predictor = model() | {"model_format": "unheard-of"}
    with pytest.raises(DeploymentFailedError, match="NoSupportingRuntime"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=predictor, **POLLS)


def test_the_time_of_the_wait_is_bounded_and_the_service_stays(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    connected.models.behave("slow", Behaviour.CRASH)
    ways = {"poll_interval_seconds": 0.05, "timeout": timedelta()}
    with pytest.raises(DeploymentFailedError, match="was not ready within 0:00:00"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("slow"), **ways)
    assert connected.hook.inference_services.exists(name)


def test_a_container_of_ones_own_is_served(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    predictor = {"container": {"image": IMAGE}, "storage_uri": "s3://models/mine/7", "env": {"LEVEL": "info"}}
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=predictor, **POLLS)
    assert answering(name) == "7"


def test_a_whole_manifest_is_applied_as_text_and_in_the_old_form(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    manifest = inference_service(name, "models", {"sklearn": {"storageUri": "s3://models/iris/4"}})
    applied = carry_out(
        ApplyInferenceServiceOperator, manifest=yaml.safe_dump(manifest), labels={"team": "search"}, **POLLS
    )
    assert applied["name"] == name
    assert connected.k8s.kserve.service(name)["metadata"]["labels"]["team"] == "search"
    assert answering(name) == "4"


def test_it_need_not_be_waited_for(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    applied = carry_out(ApplyInferenceServiceOperator, name=name, predictor=model(), wait_for_completion=False)
    assert (applied["state"], applied["generation"]) == ("PENDING", 1)
    assert carry_out(DeleteInferenceServiceOperator, name=name, wait_for_completion=False) is True


# Traffic


@IN_BOTH_MODES
def test_a_part_of_the_traffic_comes_without_new_pods(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    def apply(version: str, percent: Any = None) -> Any:
        return carry_out(
            ApplyInferenceServiceOperator, name=name, predictor=model(version), canary_percent=percent, **POLLS
        )

    apply("1")
    if connected.k8s.kserve.settings.default_mode == Mode.STANDARD:
        with pytest.raises(InvalidRequestError, match=r"can be given in Knative mode only"):
            apply("2", 20)
        return
    shares = []
    for percent in (20, "60", None):
        apply("2", percent)
        traffic = connected.k8s.kserve.service(name)["status"]["components"]["predictor"]["traffic"]
        shares.append([(item["revisionName"][-1], item["percent"]) for item in traffic])
    assert shares == [[("2", 20), ("1", 80)], [("2", 60), ("1", 40)], [("2", 100)]]


def test_a_kserve_without_canaries_is_told_from_one_that_has_them(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    canary = {"predictor": {"name": "new", "model": {"modelFormat": {"name": "sklearn"}}}, "trafficPercent": 10}
    with pytest.raises(InvalidRequestError, match=r"came with KServe 0\.20, and this is KServe 0\.18\.0"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model(), canaries=[canary], **POLLS)
    assert not connected.hook.inference_services.exists(name)


def test_a_field_that_this_kserve_does_not_have_is_named(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    predictor = model(extra={"newerThanThis": True})
    with pytest.raises(InvalidRequestError, match=r"\.newerThanThis: field not declared in schema"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=predictor, **POLLS)


@IN_BOTH_MODES
def test_a_service_stays_in_its_mode(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    mode = connected.k8s.kserve.settings.mode_named(connected.k8s.kserve.settings.default_mode)
    own, other = ("knative", "standard") if mode == Mode.KNATIVE else ("standard", "knative")
    make = {"name": name, "predictor": model(), **POLLS}
    carry_out(ApplyInferenceServiceOperator, deployment_mode=own, **make)
    with pytest.raises(InvalidRequestError, match="KServe keeps a service in its mode"):
        carry_out(ApplyInferenceServiceOperator, deployment_mode=other, **make)


# What belongs to others


def test_what_others_have_made_is_left_alone_unless_it_is_to_be_taken_over(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    api = connected.hook._api
    api.create_service(inference_service(name, "models", {"sklearn": {"storageUri": "s3://models/iris/8"}}))
    for kind, given in (
        (ApplyInferenceServiceOperator, {"predictor": model("9")}),
        (DeleteInferenceServiceOperator, {}),
    ):
        with pytest.raises(InvalidRequestError, match=r"was made by others \(\S+\), so it is left alone"):
            carry_out(kind, name=name, **given, **POLLS)

    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("9"), force=True, **POLLS)
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("10"), **POLLS)
    assert answering(name) == "10"


def test_a_field_that_others_have_changed_is_theirs(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    make = {"name": name, "predictor": model(min_replicas=1), **POLLS}
    carry_out(ApplyInferenceServiceOperator, **make)
    connected.hook._api.change_service(name, lambda service: service["spec"]["predictor"].update(minReplicas=2))

    with pytest.raises(InvalidRequestError, match=r"\.spec\.predictor\.minReplicas(.|\n)*`force=True`"):
        carry_out(ApplyInferenceServiceOperator, **make)
    carry_out(ApplyInferenceServiceOperator, force=True, **make)
    assert connected.k8s.kserve.service(name)["spec"]["predictor"]["minReplicas"] == 1


def test_what_a_release_has_made_is_left_to_its_steps(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    connected.k8s.faults.allow_only(rights(*SERVING))
    release(connected.hook, name, "20260101000000")
    connected.k8s.faults.allow_only(rights_of_the_page())
    with pytest.raises(InvalidRequestError, match="belongs to a release, which has put version 20260101000000 there"):
        carry_out(DeleteInferenceServiceOperator, name=name)
    with pytest.raises(InvalidRequestError, match="belongs to a release"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model())
    carry_out(InferenceServiceSensor, name=name, **WAITS)
    connected.k8s.faults.allow_only(rights_of_the_page() | READING)


def test_the_rights_of_the_page_are_enough_where_nothing_else_may_be_read(
    connected: KServeWorld, name: str, carry_out: CarryOut
) -> None:
    connected.k8s.faults.allow_only(rights_of_the_page())
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("11"), **POLLS)
    assert answering(name) == "11"
    with pytest.raises(InvalidRequestError, match="its CRD must not be read"):
        carry_out(ApplyInferenceServiceOperator, name=name, predictor=model(), canaries=[{}], **POLLS)
    assert carry_out(DeleteInferenceServiceOperator, name=name, **POLLS)
    connected.k8s.faults.allow_only(rights_of_the_page() | READING)


# The sensor


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_waits_for_what_others_apply(
    connected: KServeWorld, name: str, carry_out: CarryOut, deferrable: bool
) -> None:
    with pytest.raises(AirflowSensorTimeout):
        carry_out(InferenceServiceSensor, name=name, deferrable=deferrable, timeout=0.05, **WAITS)
    given = {"sklearn": {"storageUri": "s3://models/iris/5"}}
    connected.hook._api.create_service(inference_service(name, "models", given))
    carry_out(InferenceServiceSensor, name=name, deferrable=deferrable, **WAITS)
    assert answering(name) == "5"


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_sensor_does_not_wait_for_what_cannot_become_ready(
    connected: KServeWorld, name: str, carry_out: CarryOut, soft_fail: bool
) -> None:
    given = {"model": {"modelFormat": {"name": "unheard-of"}, "storageUri": "s3://models/iris/5"}}
    connected.hook._api.create_service(inference_service(name, "models", given))
    with pytest.raises(AirflowSkipException if soft_fail else DeploymentFailedError):
        carry_out(InferenceServiceSensor, name=name, soft_fail=soft_fail, **WAITS)


# Predictions


def test_an_answer_that_is_not_the_expected_one_is_kept_and_fails(
    connected: KServeWorld, name: str, carry_out: CarryOut, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("6"), **POLLS)
    tries = Tries()
    wrong = {"instances": [], "secret": "a text of a user"}
    with pytest.raises(InvalidRequestError, match="answered 400, and 200 was expected"):
        carry_out(PredictOperator, tries, name=name, body=wrong)
    assert tries.xcom["answer"]["status_code"] == 400
    assert carry_out(PredictOperator, name=name, body=wrong, expected_status=[200, 400])["status_code"] == 400
    connected.models.behave("6", Behaviour.ERROR_500)
    with pytest.raises(ServiceUnavailableError, match="answered 500"):
        carry_out(PredictOperator, name=name, body=BODY)
    connected.models.behave("6", Behaviour.GOOD)
    with pytest.raises(InvalidRequestError, match="more than 10 bytes"):
        carry_out(PredictOperator, name=name, body=BODY, max_answer_bytes=10)
    with pytest.raises(InvalidRequestError, match="`path` must begin with a slash"):
        carry_out(PredictOperator, name=name, body=BODY, path="v1/models")
    with pytest.raises(InvalidRequestError, match="`body` is no JSON"):
        carry_out(PredictOperator, name=name, body="{a text of a user")
    answer = carry_out(PredictOperator, name=name, body={"inputs": [{"data": ["good"]}]}, protocol="v2")
    assert answer["body"]["outputs"][0]["name"] == "predictions"
    assert "a text of a user" not in caplog.text


def test_the_way_through_kubernetes_needs_a_right_of_its_own(
    connected: KServeWorld, name: str, carry_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = json.dumps({**json.loads(connected.connection.extra), "door": "service_proxy"})
    monkeypatch.setenv("AIRFLOW_CONN_KSERVE_DEFAULT", json.dumps({"conn_type": "kserve", "extra": extra}))
    carry_out(ApplyInferenceServiceOperator, name=name, predictor=model("12"), **POLLS)
    with pytest.raises(PermissionDeniedError, match="services/proxy"):
        carry_out(PredictOperator, name=name, body=BODY)
    connected.k8s.faults.allow_only(rights_of_the_page() | {("", "services/proxy", "create")} | READING)
    assert answering(name) == "12"
    with pytest.raises(InvalidRequestError, match="more than 10 bytes"):
        carry_out(PredictOperator, name=name, body=BODY, max_answer_bytes=10)
    connected.k8s.faults.allow_only(rights_of_the_page() | READING)


def test_nobody_is_asked_who_is_not_there(connected: KServeWorld, name: str, carry_out: CarryOut) -> None:
    with pytest.raises(InvalidRequestError, match=f"There is no InferenceService {name}"):
        carry_out(PredictOperator, name=name, body=BODY)


# Beside the operators


def test_the_verbs_of_the_hook_are_the_same_in_a_trigger(connected: KServeWorld, name: str) -> None:
    services = connected.hook.inference_services
    predictor = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris/1"}}

    async def live() -> Any:
        await services.aapply(inference_service(name, services.namespace, predictor))
        while (found := await services.aget(name)) is not None and found.state is not DeploymentState.READY:
            await asyncio.sleep(0.05)
        assert await services.adelete(name)
        while await services.aexists(name):
            await asyncio.sleep(0.05)
        return found

    found = asyncio.run(live())
    assert (found.name, found.state, found.reason) == (name, DeploymentState.READY, None)


@pytest.mark.parametrize("given", [{}, {"predictor": model(), "name": "iris", "manifest": {}}, {"predictor": model()}])
def test_what_is_applied_must_be_said_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of|needs the `name`"):
        ApplyInferenceServiceOperator(task_id="it", **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"canary_percent": "many"}, "`canary_percent` must be a whole number"),
        ({"predictor": "[1]"}, "`predictor` must be a mapping"),
        ({"predictor": "{a: b: c}"}, "neither YAML nor JSON"),
        ({"canaries": {"a": 1}}, "`canaries` must be a list of mappings"),
        ({"deployment_mode": "serverless"}, "take detect, knative or standard"),
    ],
)
def test_what_a_template_made_of_an_argument_is_checked(
    connected: KServeWorld, name: str, carry_out: CarryOut, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        carry_out(ApplyInferenceServiceOperator, **{"name": name, "predictor": model(), **given})
    assert words in str(error.value)


def test_another_serving_system_has_none(monkeypatch: pytest.MonkeyPatch, carry_out: CarryOut) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KSERVE_DEFAULT", json.dumps({"conn_type": "torchserve", "extra": {}}))
    with pytest.raises(InvalidRequestError):
        carry_out(DeleteInferenceServiceOperator, name="iris")
