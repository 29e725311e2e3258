"""Deploys a package as an InferenceService of KServe from inside a pipeline, and puts the one before it back.

KServe's ``Ready`` may speak of the revision before, so nothing here waits for it: a deployment is done when the
service's own answers name the new version several times in a row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from include.classifier.progress import report
from include.contracts.monitoring.capture import OPT_OUT_HEADER, OPT_OUT_ID
from include.contracts.version import release_marks as marks

#: Where the steps of a pipeline mount the volume with the model store; tests choose another folder.
VOLUME_PATH = os.environ.get("STORE_VOLUME_PATH", "/mnt/models")

#: Annotation of the InferenceService. With another name, the step back to the version before would find none.
PREVIOUS = "kubeflow-model-release/previous-predictor"

_GROUP, _API_VERSION, _PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

#: While pods are replaced, old ones answer as well.
_ANSWERS_IN_A_ROW = 3

#: Of changes that others may make at the same time.
_TRIES = 5

#: States of a container that do not mend themselves.
_HOPELESS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff"}
    | {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


class DeploymentError(RuntimeError):
    """The service does not serve the new version; the message says why, and what serves now."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    :param deadline: for the new version to answer.
    :param hopeless_after: a problem that lasts so long is not waited out.
    :param poll: between two looks.
    """

    deadline: float = 900
    hopeless_after: float = 60
    poll: float = 3


@dataclass(frozen=True)
class Answer:
    """What came back from a prediction request.

    :param status: HTTP status; 0 when nothing came back.
    :param predictions: one for each text; empty unless the status is 200.
    """

    status: int
    predictions: list[dict[str, Any]] = field(default_factory=list)


class InferenceService:
    """One InferenceService, reached with the pod's own service account, or with ``$KUBECONFIG`` outside a cluster.

    :param name: of the service and of the model that it serves.
    :param namespace: default: the pod's own.
    """

    def __init__(self, name: str, *, namespace: str = "", patience: Patience | None = None) -> None:
        self.name = name
        self.namespace = namespace or _own_namespace()
        self._patience = patience or Patience()

    def deploy(self, version: str, predictor: Mapping[str, Any]) -> None:
        """Give the service a new version and wait until it answers. Safe to repeat.

        :param predictor: the wanted ``spec.predictor``; what it leaves out stays as it is.
        :raises DeploymentError: when it does not answer in time, or never will.
        """
        self._apply(version, predictor)
        report(f"deploy: waiting for {self.name} {version} in namespace {self.namespace} to answer")
        try:
            self._wait(version)
        except DeploymentError as error:
            raise DeploymentError(f"{error} {self.put_back(version)}") from None

    def put_back(self, version: str) -> str:
        """Undo a deployment: the predictor before it comes back, and a service that was new is removed.

        :return: what serves now, for people.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for _ in range(_TRIES):
            try:
                return self._put_back(version)
            except (ApiException, HTTPError) as error:
                words = _words(error)
                if getattr(error, "status", 409) != 409:
                    break
            # KServe writes the service's status all the time, and whoever writes meanwhile has to look again.
            time.sleep(self._patience.poll)
        return f"Putting the version before back failed: {words} Look at {self.name} now."

    def predict(self, texts: list[str], *, tries: int = 1, top_k: int | None = None) -> Answer:
        """Ask the service's address inside the cluster.

        :param tries: how often to ask while nothing, or a 503, comes back.
        :param top_k: labels to answer; default: as many as the model's settings say.
        """
        body = {"instances": texts} | ({} if top_k is None else {"top_k": top_k})
        for _ in range(tries - 1):
            answer = self._ask(body)
            if answer.status not in (0, 503):
                return answer
            time.sleep(self._patience.poll)
        return self._ask(body)

    # How it is done

    def _ask(self, body: Mapping[str, Any]) -> Answer:
        import requests

        if not (url := _address(self._look())):
            return Answer(0)
        # What a release asks is none of what users send.
        headers = {OPT_OUT_HEADER: "off", "Ce-Id": f"{OPT_OUT_ID}{uuid4()}"}
        url += f"/v1/models/{self.name}:predict"
        try:
            response = requests.post(url, json=body, headers=headers, timeout=60, allow_redirects=False)
            predictions = response.json()["predictions"] if response.status_code == 200 else []
        except (requests.RequestException, KeyError, TypeError, ValueError):
            return Answer(0)
        return Answer(response.status_code, predictions)

    def _apply(self, version: str, predictor: Mapping[str, Any]) -> None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        labels = {**predictor.get("labels", {}), marks.VERSION_LABEL: version, marks.MODEL_LABEL: self.name}
        stamps = {**predictor.get("annotations", {}), marks.SINCE: datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            service = self._get()
            if service is None:
                body: dict[str, Any] = {"apiVersion": f"{_GROUP}/{_API_VERSION}", "kind": "InferenceService"}
                body["metadata"] = {"name": self.name, "labels": marks.MANAGED_BY}
                body["spec"] = {"predictor": {**predictor, "labels": labels, "annotations": stamps}}
                self._objects.create_namespaced_custom_object(*self._place, body)
                return
            change = {"spec": {"predictor": {**predictor, "labels": labels}}}
            before = self._released(service)
            # A second try finds its own version there: what was before it is written down already.
            if before != version:
                was = service["spec"]["predictor"]
                change["metadata"] = {"annotations": {PREVIOUS: json.dumps(was, sort_keys=True)}}
                # ``None`` takes away what was said of the version before.
                of_before = {marks.STABLE_VERSION: None, marks.REPLACES_REVISION: None, marks.OLD_VERSION: None}
                change["spec"]["predictor"]["annotations"] = {**of_before, **stamps, marks.PREVIOUS_VERSION: before}
            self._objects.patch_namespaced_custom_object(*self._place, self.name, change)
        except (ApiException, HTTPError) as error:
            raise DeploymentError(
                f"InferenceService {self.name} in namespace {self.namespace}: {_words(error)} {_hint(error)}"
            ) from None

    def _released(self, service: Mapping[str, Any]) -> str:
        """Return the version that a service is at.

        :raises DeploymentError: when it is somebody else's, or in the middle of another release.
        """
        predictor = service["spec"]["predictor"]
        if not (version := marks.released_version(predictor)):
            raise DeploymentError(
                f"InferenceService {self.name} in namespace {self.namespace} was not made by a release: it has no "
                f"label {marks.VERSION_LABEL}. It is left alone; give the model another name, or delete the service."
            )
        if predictor.get("canaryTrafficPercent") not in (None, 100):
            raise DeploymentError(
                f"InferenceService {self.name} in namespace {self.namespace} is giving {version} its traffic step by "
                "step: another release is under way. Start this one again when that is over."
            )
        return version

    def _put_back(self, version: str) -> str:
        service = self._get()
        if service is None or marks.released_version(service["spec"]["predictor"]) != version:
            return f"{self.name} was changed by somebody else and left as it is."
        annotations = service["metadata"].get("annotations") or {}
        if PREVIOUS not in annotations:
            self._objects.delete_namespaced_custom_object(*self._place, self.name)
            return f"{self.name} had no version before; it was removed."
        # A patch could not take away what only the new predictor has.
        predictor = service["spec"]["predictor"] = json.loads(annotations.pop(PREVIOUS))
        before = marks.released_version(predictor)
        self._objects.replace_namespaced_custom_object(*self._place, self.name, service)
        return f"The version before {'(' + before + ') ' if before else ''}was put back."

    def _wait(self, version: str) -> None:
        start = time.monotonic()
        in_a_row, problem_since, why = 0, start, "nothing has answered yet"
        while (now := time.monotonic()) - start < self._patience.deadline:
            answer = self.predict(["ready"])
            served = answer.predictions[0].get("version") if answer.predictions else None
            in_a_row = in_a_row + 1 if served == version else 0
            if in_a_row >= _ANSWERS_IN_A_ROW:
                return
            problem = self._problem(version)
            if problem is None:
                problem_since = now
                why = (
                    f"version {served} answers" if served else f"it answers with HTTP status {answer.status or 'none'}"
                )
            elif now - problem_since >= self._patience.hopeless_after:
                raise DeploymentError(f"{self.name} {version} cannot be deployed: {problem}.")
            else:
                why = problem
            time.sleep(0 if in_a_row else self._patience.poll)
        raise DeploymentError(
            f"{self.name} {version} did not answer within {self._patience.deadline:g} s: {why}. "
            f"`kubectl -n {self.namespace} describe inferenceservice {self.name}` says more."
        )

    def _problem(self, version: str) -> str | None:
        """Return why the new version cannot come up, as far as KServe and its pods tell."""
        status = (self._look() or {}).get("status", {}).get("modelStatus", {})
        for pod in self._pods():
            if (pod.metadata.labels or {}).get(marks.VERSION_LABEL) == version and (
                found := next(_troubles(pod), None)
            ):
                return found
        # lastFailureInfo is never taken back; it counts only while KServe says that the load is blocked.
        if status.get("transitionStatus") not in ("BlockedByFailedLoad", "InvalidSpec"):
            return None
        failure = status.get("lastFailureInfo", {})
        words = (status["transitionStatus"], failure.get("reason"), failure.get("message"))
        return ": ".join(str(word).strip() for word in words if word)

    def _pods(self) -> list[Any]:
        from kubernetes.client import ApiException, CoreV1Api

        selector = f"serving.kserve.io/inferenceservice={self.name}"
        try:
            return CoreV1Api(self._api).list_namespaced_pod(self.namespace, label_selector=selector).items
        except ApiException:  # The service account may not look at pods; KServe's own words have to do.
            return []

    @cached_property
    def _api(self) -> Any:
        from kubernetes import client, config

        if file := os.environ.get("KUBECONFIG"):
            config.load_kube_config(config_file=file)
        else:
            config.load_incluster_config()
        return client.ApiClient()

    @property
    def _objects(self) -> Any:
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self._api)

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return _GROUP, _API_VERSION, self.namespace, _PLURAL

    def _get(self) -> dict[str, Any] | None:
        from kubernetes.client import ApiException

        try:
            return self._objects.get_namespaced_custom_object(*self._place, self.name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _look(self) -> dict[str, Any] | None:
        """Return the service as far as it can be had: while one waits, the API server may be away for a moment."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._get()
        except (ApiException, HTTPError):
            return None


def storage_uri(package_uri: str, *, volume: str) -> str:
    """Return a package's URI as KServe reads it: what lies on the mounted volume becomes ``pvc://``.

    :param package_uri: as fsspec writes it.
    :param volume: name of the persistent volume claim.
    """
    if not package_uri.startswith("file:"):
        return package_uri
    path = Path(urlsplit(package_uri).path)
    if not path.is_relative_to(VOLUME_PATH):
        raise DeploymentError(
            f"{package_uri} does not lie on the volume that is mounted at {VOLUME_PATH}, so KServe cannot read it: "
            f"use a store_uri below file://{VOLUME_PATH}, or an object store."
        )
    return f"pvc://{volume}/{path.relative_to(VOLUME_PATH)}"


def _own_namespace() -> str:
    try:
        return _OWN_NAMESPACE.read_text(encoding="ascii").strip()
    except OSError:
        raise DeploymentError("There is no namespace: give the parameter namespace outside a cluster.") from None


def _address(service: Mapping[str, Any] | None) -> str:
    """Return the service's base URL inside the cluster; some versions of KServe put a path behind it."""
    status = (service or {}).get("status", {})
    parts = urlsplit(status.get("address", {}).get("url") or status.get("url") or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _troubles(pod: Any) -> Iterator[str]:
    """Yield what holds a pod up for good."""
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting, ended = container.state.waiting, container.last_state.terminated
        if waiting is None or waiting.reason not in _HOPELESS:
            continue
        if ended is not None and ended.reason == "OOMKilled":
            yield f"container {container.name} ran out of memory: raise serving_memory"
        # The last lines of the log, where the runtime asks for them as termination message.
        words = (ended.message if ended is not None else "") or waiting.message or ""
        yield f"container {container.name} is in {waiting.reason}: {words.strip()}"


def _words(error: Any) -> str:
    """Return what the API server or a webhook of KServe says."""
    if not hasattr(error, "body"):
        return f"the Kubernetes API does not answer ({type(error).__name__})."
    try:
        return f"{json.loads(error.body)['message']}."
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}."


def _hint(error: Any) -> str:
    status = getattr(error, "status", None)
    if status == 403:
        return "Give the run's service account the rights of deploy/release-in-kubeflow-rbac.yaml."
    if status == 404:
        return "Is KServe installed, and does the namespace exist?"
    return "Change what it names, or retry the run."
