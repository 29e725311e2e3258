"""The ``cluster`` section of a model's YAML: what its steps and modules need of Kubernetes.

Airflow's half checks the same settings with ``kubeflow_provider.kubernetes.settings``, which can be used without this
project; a test keeps the two alike.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.models.section import Section

#: A name of a Kubernetes object.
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
#: Kubeflow names the pod's volume after the claim, and such a name has no dots.
ClaimName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
#: CPU or memory as Kubernetes writes them.
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class VolumeConfig(Section):
    """A claim that every step and module mounts."""

    claim: ClaimName = Field(description="Name of the PersistentVolumeClaim.")
    mount_path: str = Field(pattern="^/.*[^/]$", description="Where it appears in the container, absolute.")
    sub_path: str = Field("", pattern="^([^/].*)?$", description="Folder of the volume; empty: all of it. KFP 2.16+.")


class SecretConfig(Section):
    """A Secret of which keys become environment variables."""

    name: ObjectName = Field(description="Name of the Secret.")
    keys: dict[str, VariableName] = Field(min_length=1, description="Key in it -> environment variable.")
    optional: bool = Field(False, description="Start also when it does not exist.")


class ConfigMapConfig(Section):
    """A ConfigMap of which keys become environment variables."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    keys: dict[str, VariableName] = Field(min_length=1, description="Key in it -> environment variable.")
    optional: bool = Field(False, description="Start also when it does not exist. KFP 2.15+.")


class TolerationConfig(Section):
    """A taint of nodes that is no obstacle."""

    key: str = Field("", description="Key of the taint; empty with `Exists`: every taint.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How `value` is compared.")
    value: str = Field("", description="Value of the taint, with `Equal`.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="Empty: every effect.")
    seconds: Annotated[int, Field(ge=0)] | None = Field(None, description="With `NoExecute`: how long; none: for good.")


class StepConfig(Section):
    """What differs for one step of the pipeline."""

    display_name: str | None = Field(None, min_length=1, description="Its name in Kubeflow's UI.")
    retries: Annotated[int, Field(ge=0)] | None = Field(None, description="Tries after the first, made by Kubeflow.")
    retry_backoff_seconds: Annotated[int, Field(ge=0)] = Field(
        60, description="Pause before the first retry; doubled with each, up to an hour."
    )
    cache: bool | None = Field(None, description="Reuse an earlier result for the same inputs; never for `package`.")
    node_selector: dict[str, str] = Field({}, description="Labels of its nodes, besides those for all steps.")
    tolerations: list[TolerationConfig] = Field([], description="Besides those for all steps.")


class ModulePodConfig(Section):
    """What preprocessing asks for; the steps of the pipeline take the model's `resources`."""

    cpu: Quantity = Field("1", description="CPUs, as Kubernetes writes them; requested and allowed.")
    memory: Quantity = Field("2Gi", description="Memory, as Kubernetes writes it; requested and allowed.")


class ClusterConfig(Section):
    """Where and how a model's steps run in a cluster. The embedded world has no use for it."""

    image: str | None = Field(
        None,
        min_length=1,
        description="Image of every step and module. None: steps keep the pipeline's; modules need one.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="None: Kubernetes decides by the image's tag."
    )
    image_pull_secrets: list[ObjectName] = Field([], description="Secrets with the registry's credentials.")
    pipeline_root: str | None = Field(
        None, min_length=1, description="Where Kubeflow keeps artifacts; none: the connection's, else the server's own."
    )
    namespace: ObjectName | None = Field(None, description="Of modules' pods; none: the connection's.")
    service_account: ObjectName | None = Field(None, description="Of steps and modules; none: the server's default.")
    volumes: list[VolumeConfig] = Field([], description="Claims to mount, for a model store or data on a volume.")
    secrets: list[SecretConfig] = Field([], description="Secrets as environment, for example of an object store.")
    config_maps: list[ConfigMapConfig] = Field([], description="ConfigMaps as environment.")
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: list[TolerationConfig] = Field([], description="Taints that are no obstacle.")
    run_as_user: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Numeric user, not root; none: the image's. Steps: KFP 2.16+."
    )
    run_as_group: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Numeric group; owns the volumes of modules. Steps: KFP 2.16+."
    )
    time_to_live_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="When Kubernetes may forget a finished run's pods. KFP 2.17+."
    )
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="When Kubernetes itself ends a run, should Airflow be gone. KFP 2.17+."
    )
    module_pod: ModulePodConfig = ModulePodConfig()
    steps: dict[str, StepConfig] = Field({}, description="What differs for one step, by its name in the pipeline.")

    @model_validator(mode="after")
    def _package_is_made(self) -> ClusterConfig:
        if "package" in self.steps and self.steps["package"].cache:
            raise ValueError(
                "steps.package.cache: packaging writes to the model store, where Kubeflow's cache does not look; "
                "leave it out"
            )
        return self
