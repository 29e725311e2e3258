"""What the Kubernetes client says becomes an error that tells whether another try is worth it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
from kubernetes.client import ApiException  # noqa: TID253
from kubernetes.config import ConfigException  # noqa: TID253
from urllib3.exceptions import ProtocolError

from kubeflow_provider.access import Access
from kubeflow_provider.compat import AirflowException, AirflowNotFoundException
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    RunFailedError,
    ServiceUnavailableError,
)
from kubeflow_provider.kubernetes.errors import AWAY, typed_errors


def asked() -> Any:
    advice = {403: "Give rights.", 404: "Is it there?", 0: "Check it."}
    return typed_errors("make x", conn_id="cluster", advice=advice)


def answer(status: int, message: str | None = "no") -> ApiException:
    error = ApiException(status=status, reason="Reason")
    error.body = json.dumps({"kind": "Status", "message": message}) if message else "<html>"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (answer(400), InvalidRequestError, r"'cluster'\) answered 400 when asked to make x: no. Check it.$"),
        (answer(404), InvalidRequestError, "answered 404 .*: no. Is it there\\?$"),
        (answer(422), InvalidRequestError, "answered 422 .*: no. Check it.$"),
        (answer(401), PermissionDeniedError, "answered 401 .*: no. Give rights.$"),
        (answer(403), PermissionDeniedError, "answered 403 .*: no. Give rights.$"),
        (answer(403, "exceeded quota: compute"), ServiceUnavailableError, "exceeded quota: compute. Wait"),
        (answer(403, 'admission webhook "x" denied'), InvalidRequestError, "denied$"),
        (answer(409), ServiceUnavailableError, "answered 409 .*: no$"),
        (answer(410), ServiceUnavailableError, "answered 410 .*: no$"),
        (answer(429), ServiceUnavailableError, "answered 429 .*: no$"),
        (answer(503, None), ServiceUnavailableError, "answered 503 .*: Reason$"),
        (answer(500, "x" * 9000), ServiceUnavailableError, r"x \.\.\.$"),
        (ProtocolError("reset"), ServiceUnavailableError, r"did not answer when asked to make x \(ProtocolError\)"),
        (KubernetesApiException("refused"), ServiceUnavailableError, "did not answer"),
        (TimeoutError(), ServiceUnavailableError, "did not answer"),
        (
            ConfigException("no file"),
            InvalidRequestError,
            "no way to a Kubernetes cluster .no file.*'cluster'",
        ),
        (AirflowNotFoundException("isn't defined"), InvalidRequestError, "isn't defined"),
        (AirflowException("mutually exclusive"), InvalidRequestError, "mutually exclusive"),
        (FileNotFoundError("ca.crt"), InvalidRequestError, "ca.crt"),
        (RunFailedError("over", run_id="r"), RunFailedError, "^over$"),
    ],
)
def test_an_error_gets_its_type(error: Exception, kind: type[KubeflowProviderError], text: str) -> None:
    with pytest.raises(kind, match=text) as failure, asked():
        raise error
    assert type(failure.value) is kind


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), asked():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("before", "error", "is_outage"),
    [
        (None, answer(401), False),
        (None, answer(403), False),
        ("done", answer(401), True),
        ("done", answer(403), True),
        (answer(404), answer(401), True),  # who is told that there is nothing was let in
        (answer(409), answer(403), True),
        (answer(500), answer(401), False),
        (answer(401), answer(401), False),
        (None, ProtocolError("refused"), True),
        (None, answer(500, "failed calling webhook"), True),
        (None, answer(503), True),
        (None, answer(429), True),
        ("done", answer(404), False),
        ("done", answer(403, "exceeded quota: compute"), False),
        ("done", answer(403, 'admission webhook "x" denied'), False),
    ],
)
def test_what_was_accepted_before_tells_an_outage_from_a_refusal(
    before: Exception | str | None, error: Exception, is_outage: bool
) -> None:
    access = Access(away=AWAY)
    if before is not None:
        with suppress(KubeflowProviderError), typed_errors("make x", access=access):
            if isinstance(before, Exception):
                raise before
    with pytest.raises(KubeflowProviderError) as caught, typed_errors("make x", access=access):
        raise error
    assert isinstance(caught.value, OutageError) is is_outage
