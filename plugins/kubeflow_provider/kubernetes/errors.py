"""Turns the errors of the Kubernetes client into this provider's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from kubernetes.client import ApiException


@contextmanager
def typed_errors(conn_id: str) -> Iterator[None]:
    """Let only errors of this provider out.

    :param conn_id: Airflow connection to Kubernetes, for the message.
    """
    from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
    from kubernetes.client import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except KubeflowProviderError:
        raise
    except ApiException as error:
        raise _from_answer(error, conn_id) from None
    except (HTTPError, KubernetesApiException) as error:
        raise ServiceUnavailableError(f"Kubernetes (connection {conn_id!r}) does not answer: {error}") from error
    except (AirflowException, ConfigException) as error:
        # No such connection, or one that contradicts itself.
        raise InvalidRequestError(
            f"Connection {conn_id!r}, which leads to Kubernetes, cannot be used: {error}"
        ) from error


def _from_answer(error: ApiException, conn_id: str) -> KubeflowProviderError:
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    text = f"Kubernetes (connection {conn_id!r}) answered {error.status}: {message}"
    if "exceeded quota" in text:
        # A 403 as well, but of another kind: there is room again when something else is over.
        return ServiceUnavailableError(f"{text}. Wait until there is room, or ask for less.", http_status=error.status)
    if error.status in (401, 403):
        return PermissionDeniedError(f"{text}. The rights that are needed stand in deploy/.", http_status=error.status)
    if error.status in (0, 408, 409, 429) or error.status >= 500:
        return ServiceUnavailableError(text, http_status=error.status)
    return InvalidRequestError(text, http_status=error.status)
