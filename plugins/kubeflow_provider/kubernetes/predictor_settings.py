"""How one model is served in a cluster: the ``kserve`` part of the ``serving`` section of its YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kubeflow_provider.kubernetes.inference_service import DeploymentMode, problems_in
from kubeflow_provider.kubernetes.settings_base import ObjectName, Quantity, Settings, Text, VariableName
from kubeflow_provider.kubernetes.step_settings import Toleration


class Batcher(Settings):
    """KServe's own batching in front of the server, besides what the server does."""

    max_batch_size: Annotated[int, Field(ge=1)] = Field(32, description="Instances that it joins, at most.")
    max_latency_ms: Annotated[int, Field(ge=1)] = Field(50, description="How long it waits to join them, at most.")


class Logger(Settings):
    """Copies of what users send and get, texts included: mind who may read them."""

    url: Text = Field(description="Where KServe sends them as CloudEvents.")
    mode: Literal["all", "request", "response"] = Field("all", description="Which of the two.")


class ClusterShare(Settings):
    """How much of a cluster a model gets, and how it is served there, whatever serves it."""

    deployment_mode: Literal["detect", "knative", "standard"] = Field(
        "detect", description="`detect`: what the cluster does by default. A service stays in its mode for good."
    )
    storage: dict[Text, Text] = Field(
        {},
        description="Beginning of an archive's URI -> what stands for it in the cluster, for example "
        "`file:///mnt/models: pvc://model-store`. s3://, gs://, hf:// and https:// need none.",
    )
    service_account: ObjectName | None = Field(None, description="Of the pods; carries the Secret of an object store.")
    cpu: Quantity = Field("1", description="CPUs of a pod; requested and allowed.")
    memory: Quantity = Field("2Gi", description="Memory of a pod; requested and allowed.")
    gpu: Annotated[int, Field(ge=0)] = Field(0, description="GPUs of a pod.")
    gpu_type: Text = Field("nvidia.com/gpu", description="Only used when `gpu` is above 0.")
    min_replicas: Annotated[int, Field(ge=0)] = Field(1, description="Pods at least; 0 in Knative mode only.")
    max_replicas: Annotated[int, Field(ge=1)] = Field(1, description="Pods at most.")
    scale_metric: Literal["concurrency", "rps", "cpu", "memory"] | None = Field(
        None,
        description="What pods are added for: `concurrency` and `rps` in Knative mode, `cpu` and `memory` in Standard "
        "mode.",
    )
    scale_target: Annotated[int, Field(ge=1)] | None = Field(None, description="Its value for one pod.")
    container_concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Requests that a pod is given at once, at most; Knative mode only."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Longest request. Standard mode: with the Gateway API only."
    )
    batcher: Batcher | None = Field(None, description="`max_batch_size` and `max_latency_ms`; none: no batcher.")
    logger: Logger | None = Field(None, description="`url` and `mode`; none: nothing is copied.")
    labels: dict[str, str] = Field({}, description="Labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    registry_labels: bool = Field(
        False,
        description="Labels of Kubeflow's Model Registry for the InferenceService that the first release makes; one "
        "that is there stays as it is.",
    )
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle.")
    image_pull_secrets: tuple[ObjectName, ...] = Field((), description="Secrets with the registry's credentials.")

    @model_validator(mode="after")
    def _is_sound(self) -> ClusterShare:
        if self.min_replicas > self.max_replicas:
            raise ValueError("`min_replicas` is above `max_replicas`")
        if self.scale_target and not self.scale_metric:
            raise ValueError("`scale_target` needs `scale_metric`")
        if self.deployment_mode != "detect" and (problems := self.problems_in(self.deployment_mode)):
            raise ValueError("; ".join(problems))
        return self

    def problems_in(self, mode: DeploymentMode) -> list[str]:
        """Return which settings a mode does not take: those that KServe refuses, and those that it would ignore."""
        return problems_in(mode, self)


class PredictorSettings(ClusterShare):
    """How an archive of this project is served by KServe."""

    _called = ("Serving settings", "serving.kserve")

    runtime: ObjectName = Field("kubeflow-model-release", description="ServingRuntime of the namespace.")
    protocol: Literal["v1", "v2"] = Field("v1", description="What users speak; `v2`: Open Inference Protocol.")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PredictorSettings:
        """Read the ``serving`` section of a model, of which these are the part ``kserve``.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once.
        """
        return cls.from_mapping(settings.get("kserve") or {})
