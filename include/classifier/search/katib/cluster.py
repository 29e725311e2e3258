"""Katib's objects, reached through the Kubernetes API from inside the pod of the step."""

from __future__ import annotations

import json
import os
import socket
from functools import cached_property
from pathlib import Path
from typing import Any

from include.classifier.search.katib.experiment import EXPERIMENTS, GROUP, OF_EXPERIMENT, TRIALS, VERSION

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

#: Of one request, in seconds.
_TIMEOUT = 30


class KatibError(RuntimeError):
    """Katib cannot be used from here; the message says why."""


class UnreachableError(KatibError):
    """The Kubernetes API does not answer for now."""


class Katib:
    """Experiments and Trials of one namespace.

    :param pod: name of the step's own pod; default: this machine's.
    :param namespace: default: the pod's own.
    :param api: the client; default: with the pod's service account.
    """

    def __init__(self, *, pod: str = "", namespace: str = "", api: Any = None) -> None:
        self._pod = pod or os.environ.get("KFP_POD_NAME") or socket.gethostname()
        self._namespace = namespace
        self._given = api

    @property
    def is_in_a_pod(self) -> bool:
        """Whether this process runs in a pod; whoever names a namespace says so."""
        return bool(self._namespace) or ("KUBERNETES_SERVICE_HOST" in os.environ and _OWN_NAMESPACE.exists())

    @cached_property
    def namespace(self) -> str:
        """The namespace of the search."""
        return self._namespace or _OWN_NAMESPACE.read_text(encoding="ascii").strip()

    def is_served(self) -> bool:
        """Tell whether the cluster has Katib."""
        served = self._call("get_api_resources", GROUP, VERSION)
        return served is not None and {EXPERIMENTS, TRIALS} <= {each.name for each in served.resources}

    def own_pod(self) -> dict[str, Any]:
        """Return the step's pod, which those of trials are made after."""
        from kubernetes.client import CoreV1Api

        found = self._ask(CoreV1Api(self._api).read_namespaced_pod, self._pod, self.namespace)
        if found is None:
            raise KatibError(f"there is no pod {self._pod} in namespace {self.namespace}, which this step should be")
        return self._api.sanitize_for_serialization(found)

    def find(self, name: str) -> dict[str, Any] | None:
        """Return an Experiment; ``None`` when there is none."""
        return self._call("get_namespaced_custom_object", *self._experiments, name)

    def create(self, body: dict[str, Any], *, is_real: bool = True) -> bool:
        """Create an Experiment; False when one with its name is there.

        :param is_real: False asks whether it would be taken, Katib's webhooks included, and creates nothing.
        """
        how = {} if is_real else {"dry_run": "All"}
        return (
            self._call("create_namespaced_custom_object", *self._experiments, body, passing=(409,), **how) is not None
        )

    def delete(self, name: str) -> None:
        """Delete an Experiment, and with it its Trials and their pods. It may be gone."""
        self._call("delete_namespaced_custom_object", *self._experiments, name, propagation_policy="Background")

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Return an Experiment's Trials, the oldest first."""
        place = (GROUP, VERSION, self.namespace, TRIALS)
        selector = f"{OF_EXPERIMENT}={name}"
        found = self._call("list_namespaced_custom_object", *place, label_selector=selector) or {"items": []}
        return sorted(
            found["items"], key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"])
        )

    @property
    def _experiments(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, EXPERIMENTS

    @cached_property
    def _api(self) -> Any:
        from kubernetes import client, config

        if self._given is not None:
            return self._given
        config.load_incluster_config()
        return client.ApiClient()

    def _call(self, name: str, *arguments: Any, passing: tuple[int, ...] = (404,), **more: Any) -> Any:
        from kubernetes.client import CustomObjectsApi

        return self._ask(getattr(CustomObjectsApi(self._api), name), *arguments, passing=passing, **more)

    def _ask(self, call: Any, *arguments: Any, passing: tuple[int, ...] = (404,), **more: Any) -> Any:
        """Return what the server answers; ``None`` for a status that passes.

        :raises KatibError: when it refuses; :class:`UnreachableError` when asking again may help.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, _request_timeout=_TIMEOUT, **more)
        except ApiException as error:
            if error.status in passing:
                return None
            kind = UnreachableError if error.status == 429 or error.status >= 500 else KatibError
            raise kind(_words(error)) from None
        except HTTPError as error:
            raise UnreachableError(f"the Kubernetes API does not answer ({type(error).__name__})") from None


def _words(error: Any) -> str:
    try:
        said = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        said = f"{error.status} {error.reason}"
    if error.status == 403 and "admission webhook" not in said:
        return f"{said}. Give the run's service account the rights of deploy/search-in-katib-rbac.yaml"
    return said
