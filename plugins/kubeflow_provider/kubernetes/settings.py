"""What a model's steps and modules need of Kubernetes: image, storage, secrets, scheduling, life time.

Operators hand it on as a mapping (``cluster``), so that it can be templated and crosses every process boundary as
JSON. The reference project documents each field in ``include/models/cluster_config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeflow_provider.exceptions import InvalidRequestError

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
#: Kubeflow names the pod's volume after the claim, and such a name has no dots.
ClaimName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]

#: Steps whose effect lies in the model store, which Kubeflow's cache does not look at: reusing one would skip it.
NEVER_CACHED = frozenset({"package"})


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Volume(_Settings):
    """A PersistentVolumeClaim, and where it is mounted."""

    claim: ClaimName
    mount_path: str = Field(pattern="^/.*[^/]$")
    sub_path: str = Field("", pattern="^([^/].*)?$")


class EnvironmentSource(_Settings):
    """A Secret or ConfigMap of which keys become environment variables (key -> variable)."""

    name: ObjectName
    keys: dict[str, VariableName] = Field(min_length=1)
    optional: bool = False


class Toleration(_Settings):
    """A taint of nodes that is no obstacle, as Kubernetes has it; ``seconds`` only with ``NoExecute``."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    seconds: Annotated[int, Field(ge=0)] | None = None

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


class StepSettings(_Settings):
    """What differs for one step of the pipeline; ``None`` leaves what the pipeline's author chose."""

    display_name: Text | None = None
    retries: Annotated[int, Field(ge=0)] | None = None
    retry_backoff_seconds: Annotated[int, Field(ge=0)] = 60
    cache: bool | None = None
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()


class ModuleResources(_Settings):
    """What the pod of a module asks for and is allowed."""

    cpu: Quantity = "1"
    memory: Quantity = "2Gi"


class ClusterSettings(_Settings):
    """The cluster settings of one model. What is not given stays as the pipeline's author and the cluster have it.

    :param image: of every step and module.
    :param namespace: of modules' pods; a run's follows from its experiment.
    :param service_account: of steps and modules.
    :param pipeline_root: where Kubeflow keeps artifacts.
    :param run_as_user: numeric user other than root.
    :param run_as_group: numeric group; also owns the volumes of modules.
    :param time_to_live_seconds: from the end of a run to the removal of its pods.
    :param active_deadline_seconds: from the start of a run to its end by Kubernetes.
    :param steps: what differs for one step, by the name of its task in the pipeline.
    """

    image: Text | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[ObjectName, ...] = ()
    pipeline_root: Text | None = None
    namespace: ObjectName | None = None
    service_account: ObjectName | None = None
    volumes: tuple[Volume, ...] = ()
    secrets: tuple[EnvironmentSource, ...] = ()
    config_maps: tuple[EnvironmentSource, ...] = ()
    env: dict[VariableName, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    run_as_user: Annotated[int, Field(ge=1)] | None = None
    run_as_group: Annotated[int, Field(ge=0)] | None = None
    time_to_live_seconds: Annotated[int, Field(ge=1)] | None = None
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    module_pod: ModuleResources = ModuleResources()
    steps: dict[str, StepSettings] = {}

    @model_validator(mode="after")
    def _is_sound(self) -> ClusterSettings:
        if cached := sorted(name for name in NEVER_CACHED if name in self.steps and self.steps[name].cache):
            raise ValueError(
                f"steps.{cached[0]}.cache: this step writes to the model store, where Kubeflow's cache does not look; "
                "leave it out"
            )
        paths = [volume.mount_path for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("volumes: two of them have the same `mount_path`")
        return self

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ClusterSettings:
        """Read what an operator was given.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            # Without the value: an environment variable may hold what no log should.
            problems = "; ".join(
                f"{'.'.join(map(str, ('cluster', *item['loc'])))}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise InvalidRequestError(f"Cluster settings are wrong: {problems}.") from None
