"""What the Kubernetes client says becomes an error that tells whether another try is worth it."""

from __future__ import annotations

import json

import pytest
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from kubernetes.client import ApiException  # noqa: TID253
from kubernetes.config import ConfigException  # noqa: TID253
from urllib3.exceptions import ProtocolError

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    RunFailedError,
    ServiceUnavailableError,
)
from kubeflow_provider.kubernetes.errors import typed_errors


def answer(status: int, message: str | None = "no") -> ApiException:
    error = ApiException(status=status, reason="Reason")
    error.body = json.dumps({"kind": "Status", "message": message}) if message else "<html>"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (answer(400), InvalidRequestError, r"'cluster'\) answered 400: no$"),
        (answer(404), InvalidRequestError, "answered 404: no$"),
        (answer(422), InvalidRequestError, "answered 422: no$"),
        (answer(401), PermissionDeniedError, "answered 401: no. The rights"),
        (answer(403), PermissionDeniedError, "answered 403: no. The rights"),
        (answer(403, "exceeded quota: compute"), ServiceUnavailableError, "exceeded quota: compute. Wait"),
        (answer(409), ServiceUnavailableError, "answered 409: no$"),
        (answer(429), ServiceUnavailableError, "answered 429: no$"),
        (answer(503, None), ServiceUnavailableError, "answered 503: Reason$"),
        (ProtocolError("reset"), ServiceUnavailableError, "does not answer: reset"),
        (KubernetesApiException("refused"), ServiceUnavailableError, "does not answer: refused"),
        (ConfigException("no file"), InvalidRequestError, "Connection 'cluster'.* cannot be used: no file"),
        (AirflowNotFoundException("isn't defined"), InvalidRequestError, "cannot be used: isn't defined"),
        (AirflowException("mutually exclusive"), InvalidRequestError, "cannot be used: mutually exclusive"),
        (RunFailedError("over", run_id="r"), RunFailedError, "^over$"),
    ],
)
def test_an_error_gets_its_type(error: Exception, kind: type[KubeflowProviderError], text: str) -> None:
    with pytest.raises(kind, match=text) as failure, typed_errors("cluster"):
        raise error
    assert type(failure.value) is kind


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), typed_errors("cluster"):
        raise ZeroDivisionError
