"""KServe's two ways to run a model, under the names that its versions have for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from kubeflow_provider.kubernetes.inference_service import DeploymentMode

ANNOTATION = "serving.kserve.io/deploymentMode"


class Mode(StrEnum):
    """How KServe runs a model. The values are the names since KServe 0.16."""

    KNATIVE = "Knative"
    STANDARD = "Standard"

    @property
    def setting(self) -> DeploymentMode:
        """What it is called in a model's settings."""
        return "knative" if self is Mode.KNATIVE else "standard"

    @property
    def old_name(self) -> str:
        """The only name that KServe knew before 0.16, and that 0.16 refuses to see on anything."""
        return {Mode.KNATIVE: "Serverless", Mode.STANDARD: "RawDeployment"}[self]


def read_mode(name: str | None) -> Mode | None:
    """Return the mode that a name of any version stands for, ``None`` for another or none."""
    return next((mode for mode in Mode if name in (mode.value, mode.old_name)), None)


def mode_of(service: dict[str, Any]) -> Mode | None:
    """Return the mode of an InferenceService; KServe writes it down when it first sees one, and keeps it for good."""
    in_status = read_mode(service.get("status", {}).get("deploymentMode"))
    return in_status or read_mode((service["metadata"].get("annotations") or {}).get(ANNOTATION))


def mode_annotation(service: dict[str, Any]) -> dict[str, str]:
    """Return the annotation that has given a service its mode; none where the cluster's default did."""
    annotations = service["metadata"].get("annotations") or {}
    return {ANNOTATION: annotations[ANNOTATION]} if ANNOTATION in annotations else {}
