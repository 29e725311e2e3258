"""A prediction reaches a service by every door, and a login page is not taken for an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.settings import DoorKind, KServeSettings
from kubeflow_provider.http.uncaptured import UNCAPTURED_ID
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings as Installation
from tests.kserve_support import KServeWorld, QuickHook, kserve, kserve_connection, settled, version_of
from tests.rights import SERVING, blocks_of_page, given_by, rights

pytestmark = pytest.mark.waits

FIRST, SECOND = "20260101000000", "20260202000000"
BODY = b'{"instances": ["a good place"]}'


@pytest.fixture(scope="module", params=["Serverless", "Standard"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster with a live version of ``reviews``, and a candidate beside it."""
    with kserve(tmp_path_factory.mktemp("cluster"), settings=Installation(default_mode=request.param)) as running:
        hook = running.hook
        hook.deploy_candidate(version_of("reviews", FIRST))
        settled(hook, "reviews", FIRST)
        hook.promote("reviews", FIRST)
        settled(hook, "reviews", FIRST)
        hook.deploy_candidate(version_of("reviews", SECOND))
        settled(hook, "reviews", SECOND)
        yield running


@pytest.mark.parametrize("door", [DoorKind.GATEWAY, DoorKind.PATH, DoorKind.SERVICE_PROXY])
def test_each_version_answers_by_each_door(world: KServeWorld, tmp_path: Path, door: DoorKind) -> None:
    hook = QuickHook("serving_test", connection=kserve_connection(tmp_path, world.k8s, door=door.value))

    for version, expected in ((None, FIRST), (FIRST, FIRST), (SECOND, SECOND)):
        answer = hook.predict("reviews", BODY, version=version)
        assert answer.body["predictions"][0]["version"] == expected
        assert answer.latency_ms > 0
        head = world.models.heads[-1]  # what a release asks is none of what users send
        assert (head["X-Capture"], head["Ce-Id"][: len(UNCAPTURED_ID)]) == ("off", UNCAPTURED_ID)
    assert hook.predict("reviews", b"{").status_code == 400
    assert hook.get_deployment("reviews", SECOND).state is DeploymentState.READY  # type: ignore[union-attr]


def test_a_version_that_is_nowhere_gets_no_answer(world: KServeWorld) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"reviews 20300101000000 is not deployed in models"):
        world.hook.predict("reviews", BODY, version="20300101000000")
    with pytest.raises(ServiceUnavailableError, match="nobody is not live"):
        world.hook.predict("nobody", BODY)


@pytest.mark.parametrize("world", ["Serverless"], indirect=True)  # Standard mode splits nothing
def test_while_traffic_is_split_each_revision_answers_for_itself(world: KServeWorld) -> None:
    world.hook.shift_traffic("reviews", SECOND, 50)
    settled(world.hook, "reviews", SECOND)
    world.hook._delete("reviews-candidate")
    try:
        for version in (FIRST, SECOND):
            answers = [world.hook.predict("reviews", BODY, version=version) for _ in range(5)]
            assert {answer.body["predictions"][0]["version"] for answer in answers} == {version}
    finally:
        world.hook.roll_back("reviews", candidate=SECOND, previous=FIRST)
        world.hook.deploy_candidate(version_of("reviews", SECOND))
        settled(world.hook, "reviews", SECOND)


def test_the_address_for_people_is_that_of_the_door(world: KServeWorld, tmp_path: Path) -> None:
    def url(**extra: Any) -> str:
        return QuickHook("x", connection=kserve_connection(tmp_path, world.k8s, **extra)).endpoint_url("reviews")

    gateway = world.k8s.kserve.gateway_url
    assert url(door="gateway") == "http://reviews-models.example.com/v1/models/reviews:predict"
    assert url(door="path") == f"{gateway}/serving/models/reviews/v1/models/reviews:predict"
    assert "svc.cluster.local/v1/models/reviews:predict" in url(door="cluster_local")


def test_the_service_proxy_needs_its_right(world: KServeWorld, tmp_path: Path) -> None:
    hook = QuickHook("x", connection=kserve_connection(tmp_path, world.k8s, door="service_proxy"))
    world.k8s.faults.forbid("create", "services/proxy")
    hook.access.forget()
    try:
        with pytest.raises(PermissionDeniedError, match=r"services/proxy \(docs/.*#rights\)"):
            hook.predict("reviews", BODY)
    finally:
        world.k8s.faults.heal()


@pytest.mark.parametrize(
    ("door", "address", "kind"),
    [
        ("gateway", "http://127.0.0.1:9", OutageError),
        ("path", "http://no-such-host.invalid", OutageError),
        ("cluster_local", "http://no-such-service.invalid", OutageError),
        ("cluster_local", "http://127.0.0.1:9", ServiceUnavailableError),  # a service without pods
    ],
)
def test_a_gateway_that_is_away_says_nothing_about_the_model(door: str, address: str, kind: type[Exception]) -> None:
    fields = {"namespace": "models", "door": door}
    connection = Connection(conn_id="x", conn_type="kserve", host=address, extra=json.dumps(fields))
    status = {"url": "http://reviews-models.example.com", "address": {"url": address}}
    service = {"metadata": {"name": "reviews"}, "spec": {"predictor": {}}, "status": status}
    with pytest.raises(ServiceUnavailableError) as caught:
        QuickHook("x", connection=connection)._doors.predict("reviews", service, BODY, timeout_seconds=5)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("message", "status"),
    [("the server is currently unable to handle the request", None), ('no endpoints available for service "x"', 503)],
)
def test_the_api_server_speaks_for_itself_or_of_the_service(
    world: KServeWorld, tmp_path: Path, message: str, status: int | None
) -> None:
    hook = QuickHook("x", connection=kserve_connection(tmp_path, world.k8s, door="service_proxy"))
    body = json.dumps({"kind": "Status", "message": message, "code": 503})
    world.k8s.faults.http("POST", "/proxy/", status=503, body=body, content_type="application/json")
    if status is None:
        with pytest.raises(OutageError, match=message):
            hook.predict("reviews", BODY)
    else:
        assert hook.predict("reviews", BODY).status_code == status


# Gateways with a login


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster whose gateway wants a token or a cookie."""
    installation = Installation(tokens=frozenset({"good"}), cookies=frozenset({"baked"}))
    with kserve(tmp_path_factory.mktemp("cluster"), settings=installation, door="service_proxy") as running:
        running.hook.deploy_candidate(version_of("reviews", FIRST))
        settled(running.hook, "reviews", FIRST)
        running.hook.promote("reviews", FIRST)
        # By its own door, which learns of the service a little later.
        folder = tmp_path_factory.mktemp("connection")
        settled(guarded_hook(running, folder, "good", door="gateway"), "reviews", FIRST)
        yield running


def guarded_hook(world: KServeWorld, folder: Path, password: str = "", **extra: Any) -> QuickHook:
    connection = kserve_connection(folder, world.k8s, **extra)
    connection.password = password
    return QuickHook("serving_test", connection=connection)


@pytest.mark.parametrize("door", ["gateway", "path"])
@pytest.mark.parametrize(
    ("password", "extra"),
    [("good", {}), ("oauth2_proxy_kubeflow=baked", {"authentication": "cookie"})],
)
def test_a_token_or_a_cookie_opens_a_gateway(
    guarded: KServeWorld, tmp_path: Path, door: str, password: str, extra: dict[str, str]
) -> None:
    answer = guarded_hook(guarded, tmp_path, password, door=door, **extra).predict("reviews", BODY)

    assert answer.body["predictions"][0]["version"] == FIRST


def test_a_redirect_to_a_login_is_no_answer(guarded: KServeWorld, tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError, match=r"answered 302 .* redirect to /dex/auth\. .*`authentication`"):
        guarded_hook(guarded, tmp_path).predict("reviews", BODY)


def test_a_wrong_token_is_not_told(guarded: KServeWorld, tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="answered 403") as caught:
        guarded_hook(guarded, tmp_path, "a-wrong-token").predict("reviews", BODY)
    assert "a-wrong-token" not in str(caught.value)


def test_readiness_fails_at_once_where_predictions_are_not_let_in(guarded: KServeWorld, tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError):
        guarded_hook(guarded, tmp_path).get_deployment("reviews", FIRST)


def test_inside_the_cluster_a_service_is_asked_at_its_own_address() -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(f"{self.headers['Host']} {self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"predictions": []}')

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        service = {"metadata": {"name": "reviews"}, "status": {"address": {"url": f"http://{host}/"}}}
        connection = Connection(conn_id="x", conn_type="kserve", extra='{"namespace": "models"}')
        doors = Doors(KServeSettings.of(connection), api=None)  # type: ignore[arg-type]
        answer = doors.predict("reviews", service, BODY, timeout_seconds=5)
        server.shutdown()

    assert (answer.status_code, answer.body) == (200, {"predictions": []})
    assert seen == [f"{host} /v1/models/reviews:predict"]


# The connection


def test_every_wrong_field_of_the_connection_is_named_at_once() -> None:
    extra = '{"door": "window", "path_template": "serving", "unschedulable_seconds": "soon"}'
    with pytest.raises(InvalidRequestError) as caught:
        KServeSettings.of(Connection(conn_id="serving", conn_type="kserve", extra=extra))

    for field in ("namespace: missing", "door: must be one of", "path_template: must start", "unschedulable_seconds: "):
        assert field in str(caught.value)


@pytest.mark.parametrize("door", ["gateway", "path"])
def test_a_door_at_a_gateway_needs_its_address(door: str) -> None:
    extra = f'{{"namespace": "models", "door": "{door}"}}'
    with pytest.raises(InvalidRequestError, match="host: the full address is needed"):
        KServeSettings.of(Connection(conn_id="serving", conn_type="kserve", extra=extra))


def test_the_test_button_tells_which_kserve_it_is_and_which_rights_are_missing(world: KServeWorld) -> None:
    is_ok, message = world.hook.test_connection()
    assert is_ok
    assert "KServe 0.18.0" in message
    assert "kubeflow-model-release" in message

    for verb, resource in (("list", "events"), ("create", "inferenceservices"), ("patch", "inferenceservices")):
        world.k8s.faults.forbid(verb, resource)
    try:
        is_ok, message = world.hook.test_connection()
    finally:
        world.k8s.faults.heal()
    assert not is_ok
    assert "may not create/patch inferenceservices, list events in namespace models" in message


def test_the_test_button_asks_no_more_of_a_task_than_the_page_says(world: KServeWorld, tmp_path: Path) -> None:
    door = QuickHook("x", connection=kserve_connection(tmp_path, world.k8s, door="service_proxy"))
    before = len(world.hook._api.services())
    world.k8s.faults.allow_only(given_by(blocks_of_page("inference-services")[0]))
    try:
        is_ok, message = world.hook.test_connection()
        may_pass, refusal = door.test_connection()
    finally:
        world.k8s.faults.allow_only(rights(*SERVING))
    assert is_ok, message
    assert "needed for releases only: list inferenceservices, list servingruntimes, get/create/delete" in message
    assert not may_pass
    assert "may not create services/proxy" in refusal
    assert len(world.hook._api.services()) == before
