"""Turns the errors of the Kubernetes client into this provider's: the one place where that is decided."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.kubernetes.extra import need_kubernetes
from kubeflow_provider.server_words import without_logins

#: A server's own words are cut after so many characters: a webhook may quote the whole object.
_LONGEST_MESSAGE = 1000

#: What an API server answers while it, or what it asks (etcd, a webhook), is restarted.
AWAY = frozenset({429, 500})
#: It looks at who is asking, and whether they may, before it looks for the thing itself.
_LET_IN = (404, 409, 410, 422)


@contextmanager
def typed_errors(
    what: str,
    *,
    conn_id: str | None = None,
    advice: Mapping[int, str] | None = None,
    was_sent: bool = True,
    access: Access | None = None,
) -> Iterator[None]:
    """Let only errors of this provider out. No error quotes the client's own text, which holds all headers.

    :param what: Kubernetes is asked to do, for messages: "delete pod x in namespace y".
    :param conn_id: Airflow connection that leads to the cluster, where there is one.
    :param advice: status -> what to do about it; 0 for any other status that is the request's own fault.
    :param was_sent: False when the request may be repeated whatever has become of it.
    :param access: what is known of the credentials, which tells an outage from a refusal; without it there is none.
    """
    need_kubernetes(f"To {what}")
    from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
    from kubernetes.client import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    where = f"Kubernetes (connection {conn_id!r})" if conn_id else "Kubernetes"

    def judged(error: KubeflowProviderError) -> KubeflowProviderError:
        if access is None:
            return error
        if error.http_status in _LET_IN:
            access.accept(what)
        return access.judge(error, what)

    try:
        yield
    except KubeflowProviderError:
        raise
    except ApiException as error:
        told = f"{where} answered {error.status} when asked to {what}"
        raise judged(_from_answer(error, told, advice or {}, was_sent)) from None
    except (HTTPError, KubernetesApiException, TimeoutError, ConnectionError) as error:
        told = f"{where} did not answer when asked to {what} ({type(error).__name__})."
        raise judged(ServiceUnavailableError(told, was_sent=was_sent)) from error
    except (AirflowException, ConfigException, OSError) as error:
        # No such connection, one that contradicts itself, or a certificate or kubeconfig that is not there.
        remedy = (
            f"check connection {conn_id!r}, which `kubernetes_conn_id` names"
            if conn_id
            else "set `kubernetes_conn_id` to an Airflow connection of the cluster"
        )
        raise InvalidRequestError(f"There is no way to a Kubernetes cluster ({error}): {remedy}.") from error
    if access is not None:
        access.accept(what)


def _from_answer(error: Any, told: str, advice: Mapping[int, str], was_sent: bool) -> KubeflowProviderError:
    status, message = error.status or 0, _message(error)
    text = f"{told}: {message}"
    if "exceeded quota" in message:
        # A 403 as well, but of another kind: there is room again when something else is over.
        text = f"{text}. Wait until there is room, or ask for less."
        return ServiceUnavailableError(text, http_status=status, was_sent=was_sent)
    if status in (0, 408, 409, 410, 429) or status >= 500:
        return ServiceUnavailableError(text, http_status=status, was_sent=was_sent)
    if "admission webhook" in message:
        return InvalidRequestError(text, http_status=status)  # its words are all there is to go by, whatever the status
    if status in (401, 403):
        return PermissionDeniedError(_with(advice.get(status) or advice.get(403), text), http_status=status)
    return InvalidRequestError(_with(advice.get(status) or advice.get(0), text), http_status=status)


def _with(advice: str | None, text: str) -> str:
    return f"{text}. {advice}" if advice else text


def _message(error: Any) -> str:
    """Return the server's own words, shortened."""
    try:
        message = str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        message = str(error.reason)
    message = without_logins(message)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."
