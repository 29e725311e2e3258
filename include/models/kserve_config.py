"""The ``kserve`` part of a model's ``serving`` section: how it is served in a cluster.

Airflow's half checks the same settings with ``kubeflow_provider.hooks._kserve.model_settings``; a test keeps the two
alike.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.models.cluster_config import ObjectName, Quantity, TolerationConfig, VariableName
from include.models.section import Section

Text = Annotated[str, Field(min_length=1)]


class BatcherConfig(Section):
    """KServe's batching in front of the server; TorchServe's own is `serving.batch_size`."""

    max_batch_size: Annotated[int, Field(ge=1)] = Field(32, description="Instances that it joins, at most.")
    max_latency_ms: Annotated[int, Field(ge=1)] = Field(50, description="How long it waits to join them, at most.")


class LoggerConfig(Section):
    """Copies of what users send and get, texts included: mind who may read them."""

    url: Text = Field(description="Where KServe sends them as CloudEvents.")
    mode: Literal["all", "request", "response"] = Field("all", description="Which of the two.")


class KServeConfig(Section):
    """How the model is served by KServe. The embedded world has no use for it."""

    runtime: ObjectName = Field("kubeflow-model-release", description="ServingRuntime of the namespace.")
    protocol: Literal["v1", "v2"] = Field("v1", description="What users speak; `v2`: Open Inference Protocol.")
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
        None, description="What pods are added for; `concurrency` and `rps` in Knative mode only."
    )
    scale_target: Annotated[int, Field(ge=1)] | None = Field(None, description="Its value for one pod.")
    container_concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Requests that a pod is given at once, at most; Knative mode only."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Longest request. Standard mode: with the Gateway API only."
    )
    batcher: BatcherConfig | None = Field(None, description="`max_batch_size` and `max_latency_ms`; none: no batcher.")
    logger: LoggerConfig | None = Field(None, description="`url` and `mode`; none: nothing is copied.")
    labels: dict[str, str] = Field({}, description="Labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: list[TolerationConfig] = Field([], description="Taints that are no obstacle.")
    image_pull_secrets: list[ObjectName] = Field([], description="Secrets with the registry's credentials.")

    @model_validator(mode="after")
    def _is_sound(self) -> KServeConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError("`min_replicas` is above `max_replicas`")
        if self.scale_target and not self.scale_metric:
            raise ValueError("`scale_target` needs `scale_metric`")
        return self
