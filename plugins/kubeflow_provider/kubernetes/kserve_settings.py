"""How one model is served in a cluster: the ``kserve`` part of the ``serving`` section of its YAML.

The reference project documents each field in ``include/models/kserve_config.py``; a test keeps the two alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ObjectName, Quantity, Text, Toleration, VariableName

_KNATIVE_METRICS = frozenset({"concurrency", "rps"})


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Batcher(_Settings):
    """KServe's own batching in front of the server, besides TorchServe's."""

    max_batch_size: Annotated[int, Field(ge=1)] = 32
    max_latency_ms: Annotated[int, Field(ge=1)] = 50


class Logger(_Settings):
    """Where KServe sends copies of requests and answers, texts included."""

    url: Text
    mode: Literal["all", "request", "response"] = "all"


class ModelSettings(_Settings):
    """The serving settings of one model in a cluster.

    :param runtime: ServingRuntime in the namespace (``deploy/serving-runtime.yaml``).
    :param protocol: ``v2`` is the Open Inference Protocol.
    :param deployment_mode: ``detect`` takes what the cluster does by default.
    :param storage: beginning of an archive's URI -> what stands for it in the cluster.
    """

    runtime: ObjectName = "kubeflow-model-release"
    protocol: Literal["v1", "v2"] = "v1"
    deployment_mode: Literal["detect", "knative", "standard"] = "detect"
    storage: dict[Text, Text] = {}
    service_account: ObjectName | None = None
    cpu: Quantity = "1"
    memory: Quantity = "2Gi"
    gpu: Annotated[int, Field(ge=0)] = 0
    gpu_type: Text = "nvidia.com/gpu"
    min_replicas: Annotated[int, Field(ge=0)] = 1
    max_replicas: Annotated[int, Field(ge=1)] = 1
    scale_metric: Literal["concurrency", "rps", "cpu", "memory"] | None = None
    scale_target: Annotated[int, Field(ge=1)] | None = None
    container_concurrency: Annotated[int, Field(ge=1)] | None = None
    timeout_seconds: Annotated[int, Field(ge=1)] | None = None
    batcher: Batcher | None = None
    logger: Logger | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    env: dict[VariableName, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    image_pull_secrets: tuple[ObjectName, ...] = ()

    @model_validator(mode="after")
    def _is_sound(self) -> ModelSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError("`min_replicas` is above `max_replicas`")
        if self.scale_target and not self.scale_metric:
            raise ValueError("`scale_target` needs `scale_metric`")
        if self.deployment_mode == "standard" and (problems := self.standard_problems()):
            raise ValueError("; ".join(problems))
        return self

    def standard_problems(self) -> list[str]:
        """Return what KServe would ignore in Standard mode, where it says nothing about it."""
        problems = []
        if self.scale_metric in _KNATIVE_METRICS:
            problems.append(f"`scale_metric: {self.scale_metric}` works in Knative mode only; take cpu or memory")
        if self.container_concurrency:
            problems.append("`container_concurrency` works in Knative mode only")
        if self.min_replicas == 0:
            problems.append("`min_replicas: 0` works in Knative mode only")
        return problems

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ModelSettings:
        """Read the ``serving`` section of a model.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once.
        """
        try:
            return cls.model_validate(settings.get("kserve") or {})
        except ValidationError as error:
            # Without the value: an environment variable may hold what no log should.
            problems = "; ".join(
                f"{'.'.join(map(str, ('serving.kserve', *item['loc'])))}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise InvalidRequestError(f"Serving settings are wrong: {problems}.") from None
