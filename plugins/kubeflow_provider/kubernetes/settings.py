"""What a model's steps and modules need of Kubernetes: image, storage, secrets, scheduling, life time.

Operators hand it on as a mapping (``cluster``), so that it can be templated and crosses every process boundary as
JSON. Whoever keeps it in a file of their own can take :class:`ClusterSettings` as a section of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeflow_provider.exceptions import InvalidRequestError

#: A name of a Kubernetes object.
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
#: Kubeflow names the pod's volume after the claim, and such a name has no dots.
ClaimName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
#: CPU or memory as Kubernetes writes them.
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    """Settings that a person writes: unknown ones are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What they are called, and the name of the section that they stand in.
    _called: ClassVar[tuple[str, str]] = ("Settings", "settings")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what an operator was given.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            called, section = cls._called
            # Without the value: an environment variable may hold what no log should.
            problems = "; ".join(
                f"{'.'.join(map(str, (section, *item['loc'])))}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise InvalidRequestError(f"{called} are wrong: {problems}.") from None


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


class Toleration(Settings):
    """A taint of nodes that is no obstacle, as Kubernetes has it."""

    key: str = Field("", description="Key of the taint; empty with `Exists`: every taint.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How `value` is compared.")
    value: str = Field("", description="Value of the taint, with `Equal`.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="Empty: every effect.")
    seconds: Annotated[int, Field(ge=0)] | None = Field(None, description="With `NoExecute`: how long; none: for good.")

    @model_validator(mode="after")
    def _is_allowed(self) -> Toleration:
        # Kubernetes refuses these only once the run is under way.
        if self.operator == "Equal" and not self.key:
            raise ValueError("a toleration without `key` needs `operator: Exists`")
        if self.operator == "Exists" and self.value:
            raise ValueError("`operator: Exists` takes no `value`")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("`seconds` needs `effect: NoExecute`")
        return self


class StepSettings(Settings):
    """What differs for one step of the pipeline; ``None`` leaves what the pipeline's author chose."""

    display_name: str | None = Field(None, min_length=1, description="Its name in Kubeflow's UI.")
    retries: Annotated[int, Field(ge=0)] | None = Field(None, description="Tries after the first, made by Kubeflow.")
    retry_backoff_seconds: Annotated[int, Field(ge=0)] = Field(
        60, description="Pause before the first retry; doubled with each, up to an hour."
    )
    cache: bool | None = Field(None, description="Reuse an earlier result for the same inputs.")
    node_selector: dict[str, str] = Field({}, description="Labels of its nodes, besides those for all steps.")
    tolerations: tuple[Toleration, ...] = Field((), description="Besides those for all steps.")


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
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle.")
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
        return self

    @property
    def _sources(self) -> tuple[EnvironmentSource, ...]:
        return (*self.secrets, *self.config_maps)

    @property
    def variables(self) -> frozenset[str]:
        """Names of all environment variables that are set here, wherever their values come from."""
        return frozenset(self.env).union(*(source.keys.values() for source in self._sources))
