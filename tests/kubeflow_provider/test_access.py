"""What a failure is, by what was accepted before: the whole kind in one table."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)

POLL, START = "GET /apis/v2beta1/runs/6f1c8b8e-6d0a-4d2b-9a0a-000000000001", "POST /apis/v2beta1/runs"
OTHER_POLL = "GET /apis/v2beta1/runs/6f1c8b8e-6d0a-4d2b-9a0a-000000000002"


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def refused(status: int = 401) -> PermissionDeniedError:
    return PermissionDeniedError("who is there?", http_status=status)


def unavailable(status: int | None, *, was_sent: bool = True) -> ServiceUnavailableError:
    return ServiceUnavailableError("away", http_status=status, was_sent=was_sent)


def distrusted() -> ServiceUnavailableError:
    error = unavailable(None, was_sent=False)
    error.__cause__ = ssl.SSLError("CERTIFICATE_VERIFY_FAILED")
    return error


@pytest.mark.parametrize(
    ("accepted", "error", "operation", "is_outage"),
    [
        ([], refused(401), POLL, False),  # the very first request
        ([], refused(403), POLL, False),
        ([POLL], refused(401), POLL, True),
        ([POLL], refused(401), START, True),  # who is asking is the same, whatever is asked for
        ([POLL], refused(302), POLL, True),
        ([POLL], refused(200), POLL, True),  # a login page
        ([POLL], refused(403), POLL, True),
        ([POLL], refused(403), OTHER_POLL, True),
        ([POLL], refused(403), START, False),  # a right of its own
        (["recalled"], refused(401), POLL, True),
        (["recalled"], refused(403), POLL, False),
        ([POLL], WrongPasswordError("wrong", http_status=401), POLL, False),
        ([], unavailable(None), POLL, True),
        ([], unavailable(None, was_sent=False), START, True),
        ([], distrusted(), POLL, False),
        ([], unavailable(502), POLL, True),
        ([], unavailable(503), START, True),
        ([], unavailable(504), POLL, True),
        ([], unavailable(500), POLL, True),  # it cannot ask Kubernetes whether we may
        ([], unavailable(500), START, False),
        ([], unavailable(500, was_sent=False), START, True),  # the login broke down
        ([], unavailable(429), POLL, False),
        ([], unavailable(200), POLL, False),  # no JSON
        ([POLL], InvalidRequestError("no such run", http_status=404), POLL, False),
        ([POLL], KubeflowProviderError("?"), POLL, False),
    ],
)
def test_a_failure_is_an_outage_or_itself(
    accepted: list[str], error: KubeflowProviderError, operation: str, is_outage: bool
) -> None:
    access = Access(outage_seconds=60)
    for one in accepted:
        access.recall() if one == "recalled" else access.accept(one)
    judged = access.judge(error, operation)
    if not is_outage:
        assert judged is error
        return
    assert isinstance(judged, OutageError)
    assert (judged.budget_seconds, judged.http_status) == (60, error.http_status)
    assert access.judge(judged, operation) is judged
    is_refusal = isinstance(error, PermissionDeniedError)
    assert type(judged.given_up()) is (PermissionDeniedError if is_refusal else ServiceUnavailableError)
    assert judged.was_sent is (not is_refusal and error.was_sent), "who is refused may ask for the same again"  # type: ignore[attr-defined]


def test_kubernetes_is_away_with_a_500_and_tells_so_of_writes_as_well() -> None:
    access = Access(away=frozenset({429, 500}))
    assert isinstance(access.judge(unavailable(500), "change InferenceService reviews"), OutageError)
    assert isinstance(access.judge(unavailable(429), "list events"), OutageError)


def health(access: Access, *, is_well: bool) -> KubeflowProviderError:
    """Be refused, with a look at the health page as the client takes it."""
    if access.wants_health(refused(), POLL):
        access.note_health(is_well=is_well)
    return access.judge(refused(), POLL)


def test_a_service_that_is_well_for_two_minutes_means_its_refusal() -> None:
    clock = Clock()
    access = Access(clock=clock)
    assert not access.wants_health(refused(), POLL), "the first refusal is final anyhow"
    access.accept(POLL)
    for _ in range(12):
        assert isinstance(health(access, is_well=True), OutageError)
        clock.seconds += 10
    final = health(access, is_well=True)
    assert type(final) is PermissionDeniedError and "answered well for 120 s" in str(final)
    assert type(health(access, is_well=True)) is PermissionDeniedError, "for everybody from now on"
    access.accept(POLL)
    assert isinstance(health(access, is_well=True), OutageError), "until it is accepted again"


@pytest.mark.parametrize("interruption", ["not well", "accepted", "nobody asked"])
def test_the_two_minutes_are_without_a_break(interruption: str) -> None:
    clock = Clock()
    access = Access(clock=clock)
    access.accept(POLL)
    for second in range(0, 210, 10):
        if second == 100:
            if interruption == "accepted":
                access.accept(POLL)
            elif interruption == "nobody asked":
                clock.seconds += 600
        assert isinstance(health(access, is_well=not (interruption == "not well" and second == 100)), OutageError)
        clock.seconds += 10


def test_the_health_page_is_asked_every_few_seconds_however_many_are_refused() -> None:
    clock = Clock()
    access = Access(clock=clock)
    access.accept(POLL)
    asked = [access.wants_health(refused(), POLL) for _ in range(100)]
    clock.seconds += 5
    assert (sum(asked), access.wants_health(refused(), POLL)) == (1, True)


def fields(**changes: Any) -> ConnectionFields:
    return ConnectionFields(Connection(**({"conn_id": "kf", "conn_type": "kserve", "password": "token"} | changes)))


def test_who_has_the_same_credentials_shares_what_is_known_of_them() -> None:
    access_for(fields()).accept(POLL)
    assert access_for(fields()).was_accepted
    for other in (fields(password="another"), fields(conn_id="other"), fields(extra='{"namespace": "b"}')):
        assert not access_for(other).was_accepted
    assert not access_for(fields(), purpose="kubernetes").was_accepted


def test_credentials_of_another_connection_are_known_apart() -> None:
    access = Access()
    access.recall()
    access.use("a")
    assert access.was_accepted
    access.use("b")
    assert not access.was_accepted


def test_the_budget_is_a_field_of_the_connection() -> None:
    error = access_for(fields(extra='{"outage_seconds": 7}')).judge(unavailable(None), POLL)
    assert isinstance(error, OutageError) and error.budget_seconds == 7
    wrong = fields(extra='{"outage_seconds": "soon"}')
    access_for(wrong)
    assert wrong.problems == ["outage_seconds: must be a number of seconds above 0"]
