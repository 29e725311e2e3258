"""What a model's steps and modules need of Kubernetes: image, storage, secrets, scheduling, life time.

Operators hand it on as a mapping (``cluster``), so that it can be templated and crosses every process boundary as
JSON. Whoever keeps it in a file of their own can take :class:`ClusterSettings` as a section of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kubeflow_provider.kubernetes.settings_base import (
    ClaimName,
    LabelValue,
    MetadataKey,
    ObjectName,
    Quantity,
    Settings,
    VariableName,
)
from kubeflow_provider.kubernetes.step_settings import NodeAffinityTerm, StepSettings, Toleration


class Volume(Settings):
    """A PersistentVolumeClaim that every step and module mounts."""

    claim: ClaimName = Field(description="Name of the PersistentVolumeClaim.")
    mount_path: str = Field(pattern="^/.*[^/]$", description="Where it appears in the container, absolute.")
    sub_path: str = Field("", pattern="^([^/].*)?$", description="Folder of the volume; empty: all of it. KFP 2.16+.")


class EnvironmentSource(Settings):
    """A Secret or ConfigMap of which keys become environment variables."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    keys: dict[str, VariableName] = Field(min_length=1, description="Key in it -> environment variable.")
    optional: bool = Field(False, description="Start also when it does not exist. A ConfigMap: KFP 2.15+.")


class ModuleResources(Settings):
    """What the pod of a module asks for and is allowed; the steps of a pipeline have resources of their own."""

    cpu: Quantity = Field("1", description="CPUs, as Kubernetes writes them; requested and allowed.")
    memory: Quantity = Field("2Gi", description="Memory, as Kubernetes writes it; requested and allowed.")


class ClusterSettings(Settings):
    """Where and how steps and modules run in a cluster. What is not given stays as author and cluster have it."""

    _called = ("Cluster settings", "cluster")

    image: str | None = Field(
        None,
        min_length=1,
        description="Image of every step and module. None: steps keep the pipeline's; modules need one.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="None: Kubernetes decides by the image's tag."
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field((), description="Secrets with the registry's credentials.")
    pipeline_root: str | None = Field(
        None, min_length=1, description="Where Kubeflow keeps artifacts; none: the connection's, else the server's own."
    )
    namespace: ObjectName | None = Field(None, description="Of modules' pods; none: the connection's.")
    service_account: ObjectName | None = Field(None, description="Of steps and modules; none: the server's default.")
    volumes: tuple[Volume, ...] = Field((), description="Claims to mount, for a model store or data on a volume.")
    secrets: tuple[EnvironmentSource, ...] = Field(
        (), description="Secrets as environment, for example of an object store."
    )
    config_maps: tuple[EnvironmentSource, ...] = Field((), description="ConfigMaps as environment.")
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    cache: bool | None = Field(
        None, description="Whether steps reuse earlier results for the same inputs; none: as the pipeline has it."
    )
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    node_affinity: tuple[NodeAffinityTerm, ...] = Field(
        (), description="Nodes that steps must, or would better, be on. Not modules. KFP 2.14+."
    )
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle.")
    pod_labels: dict[MetadataKey, LabelValue] = Field(
        {}, description="Labels of the steps' pods, for example a team's for its bills."
    )
    pod_annotations: dict[MetadataKey, str] = Field({}, description="Annotations of the steps' pods.")
    run_as_user: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Numeric user, not root; none: the image's. Steps: KFP 2.16+."
    )
    run_as_group: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Numeric group, of volumes too; none: the image's, and 0 for volumes. Steps: KFP 2.16+."
    )
    time_to_live_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="When Kubernetes may forget a finished run's pods. KFP 2.17+."
    )
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="When Kubernetes itself ends a run, should Airflow be gone. KFP 2.17+."
    )
    module_pod: ModuleResources = ModuleResources()
    steps: dict[str, StepSettings] = Field({}, description="What differs for one step, by its name in the pipeline.")

    @model_validator(mode="after")
    def _is_sound(self) -> ClusterSettings:
        paths = [volume.mount_path for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("volumes: two of them have the same `mount_path`")
        # Kubernetes would join them to one variable with two values, and refuse that.
        names = [*self.env, *(name for source in self._sources for name in source.keys.values())]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"env, secrets, config_maps: {', '.join(twice)} given twice; say each variable once")
        sourced = {name for source in self._sources for name in source.keys.values()}
        for step, own in self.steps.items():
            if twice := sorted(own.env.keys() & sourced):
                raise ValueError(f"steps.{step}.env: {', '.join(twice)} comes from a Secret or ConfigMap for all steps")
        return self

    @property
    def _sources(self) -> tuple[EnvironmentSource, ...]:
        return (*self.secrets, *self.config_maps)

    @property
    def variables(self) -> frozenset[str]:
        """Names of all environment variables that are set here, wherever their values come from."""
        return frozenset(self.env).union(*(source.keys.values() for source in self._sources))
