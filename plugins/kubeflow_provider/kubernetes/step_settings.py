"""What the pods of a pipeline's steps need of Kubernetes: resources, accelerators, nodes, labels.

The names are those of the KFP SDK and of ``kfp.kubernetes``, without their verbs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kubeflow_provider.kubernetes.settings_base import (
    CountedResource,
    LabelValue,
    MetadataKey,
    Quantity,
    Settings,
    VariableName,
)


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


class NodeRequirement(Settings):
    """What a label, or a field, of a node must be, as Kubernetes has it."""

    key: str = Field(min_length=1, description="Label of nodes, or with `match_fields` a field (`metadata.name`).")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How `values` are compared."
    )
    values: tuple[str, ...] = Field((), description="With `Gt` and `Lt` one whole number; none with `Exists`.")

    @model_validator(mode="after")
    def _is_allowed(self) -> NodeRequirement:
        # Kubernetes refuses these only once the run is under way.
        if self.operator in ("In", "NotIn") and not self.values:
            raise ValueError(f"`operator: {self.operator}` needs `values`")
        if self.operator in ("Exists", "DoesNotExist") and self.values:
            raise ValueError(f"`operator: {self.operator}` takes no `values`")
        if self.operator in ("Gt", "Lt") and not (len(self.values) == 1 and self.values[0].lstrip("-").isdigit()):
            raise ValueError(f"`operator: {self.operator}` takes one whole number, as text, in `values`")
        return self


class NodeAffinityTerm(Settings):
    """Nodes that a step must be on, or would better be on. Of several terms without a weight one must hold."""

    match_expressions: tuple[NodeRequirement, ...] = Field((), description="Of labels; all of them must hold.")
    match_fields: tuple[NodeRequirement, ...] = Field((), description="Of fields; all of them must hold.")
    weight: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="How much such nodes are preferred; none: they are required."
    )

    @model_validator(mode="after")
    def _says_something(self) -> NodeAffinityTerm:
        if not self.match_expressions and not self.match_fields:
            raise ValueError("a term needs `match_expressions` or `match_fields`")
        return self


class StepSettings(Settings):
    """What differs for one step of the pipeline; ``None`` leaves what the pipeline's author chose."""

    display_name: str | None = Field(None, min_length=1, description="Its name in Kubeflow's UI.")
    retries: Annotated[int, Field(ge=0)] | None = Field(None, description="Tries after the first, made by Kubeflow.")
    retry_backoff_seconds: Annotated[int, Field(ge=0)] = Field(
        60, description="Pause before the first retry; doubled with each, up to an hour."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(None, description="When Kubernetes ends its pod.")
    cache: bool | None = Field(None, description="Reuse an earlier result for the same inputs.")
    cpu_request: Quantity | None = Field(None, description="CPUs that its node must have free.")
    cpu_limit: Quantity | None = Field(None, description="CPUs that it may use.")
    memory_request: Quantity | None = Field(None, description="Memory that its node must have free.")
    memory_limit: Quantity | None = Field(None, description="Memory that it may use; with more it is killed.")
    accelerator_type: CountedResource | None = Field(
        None, description="What the cluster calls its accelerators, for example `nvidia.com/gpu`."
    )
    accelerator_limit: Annotated[int, Field(ge=0)] | None = Field(
        None, description="How many accelerators; 0 takes away those of the pipeline's author."
    )
    env: dict[VariableName, str] = Field({}, description="Environment variables, besides those for all steps.")
    node_selector: dict[str, str] = Field({}, description="Labels of its nodes, besides those for all steps.")
    node_affinity: tuple[NodeAffinityTerm, ...] = Field(
        (), description="Its nodes, in place of the author's and those for all steps. KFP 2.14+."
    )
    tolerations: tuple[Toleration, ...] = Field((), description="Besides those for all steps.")
    pod_labels: dict[MetadataKey, LabelValue] = Field(
        {}, description="Of its pod, besides those for all steps. KFP 2.14+."
    )
    pod_annotations: dict[MetadataKey, str] = Field(
        {}, description="Of its pod, besides those for all steps. KFP 2.14+."
    )
