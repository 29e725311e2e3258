"""A short-lived token of a Kubernetes service account (TokenRequest API)."""

from __future__ import annotations

import time
from typing import Any

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.http.authentication.flow import Blocking, Credential, RenewableAuth, Steps, mask_renewed
from kubeflow_provider.http.quiet import quiet_libraries
from kubeflow_provider.http.settings import HttpSettings
from kubeflow_provider.kubernetes.errors import typed_errors
from kubeflow_provider.kubernetes.extra import need_kubernetes

#: Audience that Kubeflow Pipelines asks for in its TokenReview, unless the platform says otherwise.
DEFAULT_AUDIENCE = "pipelines.kubeflow.org"
#: Service account that Kubeflow makes in every profile.
DEFAULT_SERVICE_ACCOUNT = "default-editor"

_LIFE_SECONDS = 3600
#: Like the kubelet, do not wait until the last moment.
_SHARE_OF_LIFE = 0.8


class ServiceAccountToken(RenewableAuth):
    """Asks Kubernetes for a token, uses it for most of its life and then asks for another.

    :param name: service account.
    :param namespace: of the service account.
    :param audience: whom the token is for.
    :param kubernetes_conn_id: Airflow connection of the cluster; without it the pod's own service account or the
        default kubeconfig counts.
    :param timeout: seconds for connecting and for reading.
    :param conn_id: connection, for messages.
    """

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        audience: str,
        kubernetes_conn_id: str | None,
        timeout: tuple[float, float],
        conn_id: str,
    ) -> None:
        super().__init__(
            hint=f"The token of service account {namespace}/{name} with audience {audience!r} is not accepted: check "
            f"audience, service_account and service_account_namespace of connection {conn_id!r}."
        )
        self._name = name
        self._namespace = namespace
        self._audience = audience
        self._kubernetes_conn_id = kubernetes_conn_id
        self._timeout = timeout
        self._conn_id = conn_id

    def obtain(self, request: httpx.Request) -> Steps[Credential]:
        """Ask Kubernetes for a token."""
        return (yield Blocking(self._request_token))

    def apply(self, credential: Credential, request: httpx.Request) -> None:
        """Put the token into the request."""
        request.headers["Authorization"] = f"Bearer {credential.value}"

    def _request_token(self) -> Credential:
        need_kubernetes(f"To make a token for {self._account}")
        from kubernetes.client import AuthenticationV1TokenRequest, V1TokenRequestSpec

        spec = V1TokenRequestSpec(audiences=[self._audience], expiration_seconds=_LIFE_SECONDS)
        asked_at = time.time()
        advice = {
            403: "Allow the caller to create serviceaccounts/token there, or check its Kubernetes connection.",
            404: "There is no such account: check service_account and service_account_namespace of connection "
            f"{self._conn_id!r}.",
            0: f"Check audience of connection {self._conn_id!r}.",
        }
        # A token more does no harm: the request can be repeated whatever has become of it.
        asked = f"make a token for {self._account}"
        with (
            typed_errors(asked, conn_id=self._kubernetes_conn_id, advice=advice, was_sent=False),
            quiet_libraries(),
        ):
            granted = self._core_api().create_namespaced_service_account_token(
                self._name,
                self._namespace,
                AuthenticationV1TokenRequest(spec=spec),
                _request_timeout=self._timeout,
            )
        mask_renewed(granted.status.token)
        # The server may grant a shorter or longer life than it was asked for. Its clock does not matter.
        life = granted.spec.expiration_seconds or _LIFE_SECONDS
        return Credential(granted.status.token, renew_at=asked_at + _SHARE_OF_LIFE * life)

    def _core_api(self) -> Any:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
        from kubernetes.config import ConfigException

        try:
            return KubernetesHook(conn_id=self._kubernetes_conn_id, kubernetes_conn_id=None).core_v1_client
        except (TypeError, ValueError) as error:  # what the connection holds is no kubeconfig
            raise ConfigException(str(error)) from error

    @property
    def _account(self) -> str:
        return f"service account {self._namespace}/{self._name}"


def service_account(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode's fields."""
    namespace = fields.text("service_account_namespace") or fields.text("namespace")
    if not namespace:
        fields.problems.append("service_account_namespace: missing; the token belongs to an account in a namespace")
    return ServiceAccountToken(
        name=fields.text("service_account", DEFAULT_SERVICE_ACCOUNT),
        namespace=namespace,
        audience=fields.text("audience", DEFAULT_AUDIENCE),
        kubernetes_conn_id=fields.text("kubernetes_conn_id") or None,
        timeout=(settings.connect_timeout_seconds, settings.read_timeout_seconds),
        conn_id=fields.conn_id,
    )
