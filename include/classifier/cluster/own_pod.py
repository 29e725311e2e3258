"""What other pods have of the step's own pod: where it runs, as whom, and what it sees, and nothing of Argo's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.contracts.version import release_marks as marks

#: Where Argo, the launcher and the kubelet put what is only the step's own.
_NOT_COPIED = ("/var/run/argo", "/argo", "/kfp-launcher", "/var/run/secrets/kubernetes.io/serviceaccount")

#: Label of a run's pods, by which policies of the network know them.
_OF_A_RUN = "pipeline/runid"

#: Of a pod, what says where it runs and as whom.
OF_THE_POD = (
    "serviceAccountName",
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "affinity",
    "securityContext",
    "priorityClassName",
)


def main_container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container that the step runs in."""
    containers = pod["spec"]["containers"]
    found: Mapping[str, Any] = next((each for each in containers if each["name"] == "main"), containers[0])
    return found


def environment(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the variables of a container that other pods may have, those out of Secrets among them."""
    return [each for each in container.get("env") or () if not each["name"].startswith(("ARGO_", "KFP_"))]


def mounts(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is mounted into a container and is not only the step's own."""
    return [each for each in container.get("volumeMounts") or () if not _is_the_steps(each["mountPath"])]


def volumes(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the volumes that :func:`mounts` mounts."""
    names = {each["name"] for each in mounts(main_container(pod))}
    return [each for each in pod["spec"].get("volumes") or () if each["name"] in names]


def placement(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says where a pod runs and as whom."""
    return {key: pod["spec"][key] for key in OF_THE_POD if pod["spec"].get(key)}


def labels(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of another pod of the same run."""
    of_run = {key: value for key, value in (pod["metadata"].get("labels") or {}).items() if key == _OF_A_RUN}
    # A sidecar that never ends would keep a Job from ending, and stands between processes that look for each other.
    return {**marks.MANAGED_BY, "sidecar.istio.io/inject": "false", **of_run}


def owners(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return references to the workflow that owns the pod, for what is to go with the run.

    To the workflow and not to the pod: a retry in another pod finds what was made.
    """
    keys = ("apiVersion", "kind", "name", "uid")
    return [{key: each[key] for key in keys} for each in pod["metadata"].get("ownerReferences") or ()]


def _is_the_steps(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in _NOT_COPIED)
