"""The calls to the Kubernetes API that a release needs, and nothing else; every failure is one of this provider's."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    ServiceUnavailableError,
)
from kubeflow_provider.http.quiet import quiet_libraries
from kubeflow_provider.kubernetes.errors import typed_errors
from kubeflow_provider.kubernetes.inference_service import FIELD_MANAGER
from kubeflow_provider.kubernetes.patches import merge_patch

if TYPE_CHECKING:
    from kubeflow_provider.kubernetes.client import ConnectedKubernetesHook

Object = dict[str, Any]

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"

_UNAUTHORIZED, _CONFLICT = 401, 409
#: KServe writes a service's status several times a second while it becomes ready; each write makes ours a conflict.
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.1
#: A webhook of somebody else's that cannot look without doing something; then nobody can be asked.
_NO_DRY_RUN = "does not support dry run"
#: Of the words for a server-side apply that meets fields of others, who they are.
_HOLDERS = re.compile(r'conflicts? with "([^"]+)"')
_NOT_IN_SCHEMA = "field not declared in schema"
#: How an API server tells that nobody answers behind its proxy.
_OF_THE_SERVICE = ("no endpoints available", "error trying to reach service")
_ADVICE = {
    403: "Give Airflow's service account the rights of docs/operators/inference-services.md#rights.",
    404: "Is KServe installed there, and the namespace right?",
}


class ClusterApi:
    """Kubernetes, for one namespace.

    :param hook: makes the clients.
    :param namespace: of the InferenceServices.
    :param access: what is known of the hook's credentials.
    """

    def __init__(self, hook: ConnectedKubernetesHook, namespace: str, access: Access) -> None:
        self._hook = hook
        self.namespace = namespace
        self.access = access

    # InferenceServices

    def get_service(self, name: str) -> Object | None:
        """Return an InferenceService, ``None`` when there is none."""
        read = self._custom.get_namespaced_custom_object
        return self._call(f"read InferenceService {name}", lambda: read(*self._where(name)), passing=(404,))

    def services(self) -> list[Object]:
        """Return every InferenceService of the namespace."""
        read = self._custom.list_namespaced_custom_object
        return self._call("list InferenceServices", lambda: read(*self._where()))["items"]

    def create_service(self, service: Object) -> Object:
        """Create an InferenceService, or return the one that somebody made of the same name meanwhile."""
        name, create = service["metadata"]["name"], self._custom.create_namespaced_custom_object
        made = self._call(
            f"create InferenceService {name}", lambda: create(*self._where(), service), passing=(_CONFLICT,)
        )
        return made or self.get_service(name) or service

    def try_service(self, service: Object) -> None:
        """Let the cluster's webhooks look at an InferenceService that is not made.

        :raises InvalidRequestError: in their words, when it would be refused.
        """
        name, create = service["metadata"]["name"], self._custom.create_namespaced_custom_object
        try:
            self._call(
                f"try to create InferenceService {name}",
                lambda: create(*self._where(), service, dry_run="All"),
                passing=(_CONFLICT,),
            )
        except InvalidRequestError as error:
            if _NO_DRY_RUN not in str(error):
                raise

    def change_service(self, name: str, edit: Callable[[Object], None]) -> Object:
        """Change an InferenceService as it is now; where somebody was faster, change what they have made of it.

        :param edit: changes the object in place; called again for a fresh object after a conflict.
        :raises InvalidRequestError: when there is no such service, or KServe refuses the change.
        """
        for _ in range(_ATTEMPTS):
            before = self.get_service(name)
            if before is None:
                raise InvalidRequestError(f"InferenceService {name} is not there any more in {self.namespace}.")
            after = copy.deepcopy(before)
            edit(after)
            patch = merge_patch(before, after)
            if not patch:
                return before
            patch.setdefault("metadata", {})["resourceVersion"] = before["metadata"]["resourceVersion"]
            if changed := self._patch_service(name, patch):
                return changed
            time.sleep(_PAUSE_SECONDS)
        raise ServiceUnavailableError(
            f"InferenceService {name} was changed by others each of the {_ATTEMPTS} times that it was to be changed."
        )

    def apply_service(self, service: Object, *, force: bool) -> Object:
        """Apply an InferenceService on the server: what of it was applied before and is left out now goes.

        :param force: take over fields that others have set.
        :raises InvalidRequestError: when others have set one to something else, or KServe refuses it.
        """
        name = service["metadata"]["name"]
        for _ in range(_ATTEMPTS):
            try:
                return self._apply(name, service, force=force)
            except ServiceUnavailableError as error:
                if _NOT_IN_SCHEMA in str(error):
                    raise InvalidRequestError(f"{error}. This KServe has no such field.", http_status=500) from None
                if error.http_status != _CONFLICT:
                    raise
                holders = set(_HOLDERS.findall(str(error)))
                if holders - {FIELD_MANAGER}:
                    raise InvalidRequestError(
                        f"{error}. Leave these fields to them, or take them over with `force=True`.",
                        http_status=_CONFLICT,
                    ) from None
                # What was ours by another way of writing, or somebody was faster.
                force = force or bool(holders)
            time.sleep(_PAUSE_SECONDS)
        raise ServiceUnavailableError(
            f"InferenceService {name} was changed by others each of the {_ATTEMPTS} times that it was to be applied."
        )

    def delete_service(self, name: str) -> None:
        """Delete an InferenceService. Harmless when there is none."""
        delete = self._custom.delete_namespaced_custom_object
        self._call(f"delete InferenceService {name}", lambda: delete(*self._where(name)), passing=(404,))

    # What KServe makes of them

    def pods(self, service: str) -> list[Object]:
        """Return the pods of an InferenceService."""
        read, selector = self._core.list_namespaced_pod, f"{SERVICE_LABEL}={service}"
        return self._read(f"list the pods of {service}", read, self.namespace, label_selector=selector)["items"]

    def deployments(self, service: str) -> list[Object]:
        """Return the Deployments of an InferenceService in Standard mode."""
        read, selector = self._apps.list_namespaced_deployment, f"{SERVICE_LABEL}={service}"
        return self._read(f"list the Deployments of {service}", read, self.namespace, label_selector=selector)["items"]

    def events(self) -> list[Object]:
        """Return what was said lately about the things of the namespace."""
        return self._read("list events", self._core.list_namespaced_event, self.namespace)["items"]

    def log(self, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """Return the last lines of a container; empty when there are none to be had."""
        read = self._core.read_namespaced_pod_log
        options = {"container": container, "previous": previous, "tail_lines": lines, "_preload_content": False}
        try:
            answer = self._call(f"read the log of {pod}", lambda: read(pod, self.namespace, **options))
        except KubeflowProviderError:  # it is an extra: the reason stands without it
            return ""
        return answer.data.decode(errors="replace")

    # Kept predictors

    def get_snapshot(self, name: str) -> Object | None:
        """Return a ControllerRevision, ``None`` when there is none."""
        read = self._apps.read_namespaced_controller_revision
        return self._read(f"read ControllerRevision {name}", read, name, self.namespace, passing=(404,))

    def put_snapshot(self, snapshot: Object) -> None:
        """Create a ControllerRevision. Its data never change, so one with others is deleted first."""
        name, create = snapshot["metadata"]["name"], self._apps.create_namespaced_controller_revision
        present = self.get_snapshot(name)
        if present is not None:
            if present["data"] == snapshot["data"]:
                return
            self.delete_snapshot(name)
        self._call(f"create ControllerRevision {name}", lambda: create(self.namespace, snapshot), passing=(_CONFLICT,))

    def delete_snapshot(self, name: str) -> None:
        """Delete a ControllerRevision. Harmless when there is none."""
        delete = self._apps.delete_namespaced_controller_revision
        self._call(f"delete ControllerRevision {name}", lambda: delete(name, self.namespace), passing=(404,))

    # The cluster itself

    def definition(self) -> Object | None:
        """Return the CRD of InferenceServices; ``None`` where there is none or it must not be read."""
        where = ("apiextensions.k8s.io", "v1", "customresourcedefinitions", f"{PLURAL}.{GROUP}")
        read = self._custom.get_cluster_custom_object
        return self._call("read the CRD of InferenceServices", lambda: read(*where), passing=(403, 404))

    def config(self, namespace: str) -> Object | None:
        """Return KServe's configuration; ``None`` where there is none or it must not be read."""
        read = self._core.read_namespaced_config_map
        what = f"read ConfigMap inferenceservice-config of {namespace}"
        return self._read(what, read, "inferenceservice-config", namespace, passing=(403, 404))

    def runtimes(self) -> dict[str, Object]:
        """Return the specifications of the namespace's ServingRuntimes by their names."""
        where = (GROUP, "v1alpha1", self.namespace, "servingruntimes")
        found = self._call("list ServingRuntimes", lambda: self._custom.list_namespaced_custom_object(*where))
        return _by_name(found["items"])

    def cluster_runtimes(self) -> dict[str, Object] | None:
        """Return those of the ClusterServingRuntimes; ``None`` where they must not be read."""
        read = self._custom.list_cluster_custom_object
        where = (GROUP, "v1alpha1", "clusterservingruntimes")
        found = self._call("list ClusterServingRuntimes", lambda: read(*where), passing=(403,))
        return None if found is None else _by_name(found["items"])

    def may(self, verb: str, resource: str, group: str) -> bool:
        """Say whether the cluster lets us do this in the namespace (SelfSubjectAccessReview); nothing is done.

        :param resource: with its subresource, such as ``pods/log``.
        """
        from kubernetes.client import AuthorizationV1Api

        name, _, subresource = resource.partition("/")
        what = {"verb": verb, "group": group, "resource": name, "subresource": subresource}
        review = {"spec": {"resourceAttributes": {"namespace": self.namespace, **what}}}
        ask = AuthorizationV1Api(self._hook.api_client).create_self_subject_access_review
        return bool(self._call(f"ask whether we may {verb} {resource}", lambda: ask(review)).status.allowed)

    def post_through_proxy(
        self,
        service: str,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        most_bytes: int | None = None,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a request to a Service through the API server, with the cluster's own credentials.

        :param service: ``name:port``.
        :param most_bytes: of an answer that is longer one byte more is read; ``None``: all of it.
        :return: status, body and headers of the answer; names of headers are found in any case.
        """
        client = self._hook.api_client
        url = f"{client.configuration.host}/api/v1/namespaces/{self.namespace}/services/{service}/proxy{path}"
        headers = {**client.default_headers, **headers}
        client.update_params_for_auth(headers, [], ["BearerToken"])
        # The client's own call would write JSON; a smoke test sends what is none.
        options: Object = {"body": body, "headers": headers, "timeout": timeout_seconds, "redirect": False}
        options |= {"retries": False, "preload_content": False}
        send = client.rest_client.pool_manager.request

        def post() -> tuple[int, bytes, Mapping[str, str]]:
            answer = send("POST", url, **options)
            content: bytes = answer.read(None if most_bytes is None else most_bytes + 1)
            # What was not read to its end can be used for no other request.
            answer.release_conn() if most_bytes is None else answer.close()
            _raise_own_words(answer.status, content)
            return answer.status, content, answer.headers

        right = "the right to create services/proxy (docs/operators/inference-services.md#rights)"
        advice = {403: f"Give Airflow's service account {right}, or choose another `door`."}
        what = f"pass a prediction on to Service {service}"
        answered: tuple[int, bytes, Mapping[str, str]] = self._call(what, post, advice=advice)
        return answered

    # Parts

    @property
    def _custom(self) -> Any:
        return self._hook.custom_object_client

    @property
    def _core(self) -> Any:
        return self._hook.core_v1_client

    @property
    def _apps(self) -> Any:
        return self._hook.apps_v1_client

    def _where(self, *name: str) -> tuple[str, ...]:
        return (GROUP, VERSION, self.namespace, PLURAL, *name)

    def _apply(self, name: str, service: Object, *, force: bool) -> Object:
        change = self._custom.patch_namespaced_custom_object
        options = {"_content_type": "application/apply-patch+yaml", "field_manager": FIELD_MANAGER, "force": force}
        applied = self._call(f"apply InferenceService {name}", lambda: change(*self._where(name), service, **options))
        # For one that is new the client returns nothing.
        return applied or self.get_service(name) or service

    def _patch_service(self, name: str, patch: Object) -> Object | None:
        change = self._custom.patch_namespaced_custom_object
        kind = "application/merge-patch+json"
        call = lambda: change(*self._where(name), patch, _content_type=kind)  # noqa: E731
        return self._call(f"change InferenceService {name}", call, passing=(_CONFLICT,))

    def _read(
        self, what: str, read: Callable[..., Any], *arguments: str, passing: tuple[int, ...] = (), **options: Any
    ) -> Any:
        """Return what the API server wrote, without the client's own classes in between."""
        answer = self._call(what, lambda: read(*arguments, _preload_content=False, **options), passing=passing)
        return None if answer is None else json.loads(answer.data)

    def _call(
        self,
        what: str,
        call: Callable[[], Any],
        *,
        passing: tuple[int, ...] = (),
        advice: Mapping[int, str] = _ADVICE,
    ) -> Any:
        """Make a call, and turn the client's errors into this provider's.

        :param what: is done, for messages.
        :param passing: statuses for which ``None`` is returned.
        :param advice: status -> what to do about it.
        """
        try:
            with (
                typed_errors(f"{what} in namespace {self.namespace}", advice=advice, access=self.access),
                quiet_libraries(),
            ):
                return call()
        except KubeflowProviderError as error:
            if error.http_status in passing:
                return None
            if error.http_status == _UNAUTHORIZED:
                self._hook.renew()
            raise


def _by_name(items: list[Object]) -> dict[str, Object]:
    specs = {str(item["metadata"]["name"]): item.get("spec") or {} for item in items}
    return dict(sorted(specs.items()))


def _raise_own_words(status: int, content: bytes) -> None:
    """Raise what the API server says for itself; what it says of a service that does not answer is that one's word."""
    from kubernetes.client import ApiException

    if status not in (401, 403, 429) and status < 500:
        return
    try:
        document = json.loads(content)
    except ValueError:
        return
    if not isinstance(document, dict) or document.get("kind") != "Status":
        return
    if any(words in str(document.get("message")) for words in _OF_THE_SERVICE):
        return
    error = ApiException(status=status, reason=document.get("reason"))
    error.body = content
    raise error
