"""The YAML of a model that a pipeline of anybody's makes and KServe serves."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from pydantic import Field, JsonValue, model_validator

from include.contracts.kinds.kubeflow_settings import (
    KeptPipeline,
    MetricConfig,
    MetricsGate,
    OutputsConfig,
    PairedGateConfig,
    PredictorConfig,
    RequestsConfig,
    body_of,
)
from include.models import PROJECT_DIR
from kubeflow_provider.kubernetes.predictor_settings import ClusterShare
from model_releases.config.model import ModelConfig

#: Fields of the trigger form that are the release's own.
_TAKEN = frozenset({"require_approval", "when_inconclusive"})
_PARAMETER = r"^[A-Za-z_][A-Za-z0-9_]*$"


class PredictorSection(PredictorConfig):
    """What serves the model, and what a cluster is asked for."""

    kserve: ClusterShare = ClusterShare()


class Bound(NamedTuple):
    """A number that one release may need otherwise: a field of its form."""

    metric: str
    setting: Literal["at_least", "at_most", "max_regression"]

    @property
    def field(self) -> str:
        """Its name in the form, which templates can say."""
        return re.sub(r"\W", "_", f"gate_{self.metric}_{self.setting}", flags=re.ASCII)


class KubeflowModelConfig(ModelConfig):
    """A model of anybody's pipeline that is released."""

    kind: Literal["kubeflow-model"] = Field(description="What kind of model it is.")
    pipeline: str | KeptPipeline = Field(
        description="Compiled pipeline: a path from the project's folder, or a URI (file, https, s3, gs); or `name` "
        "and `version` of one that the pipeline service keeps.",
    )
    parameters: dict[str, JsonValue] = Field(
        {}, description="Of the pipeline; each is a field of the trigger form, with this value as its default."
    )
    outputs: OutputsConfig = OutputsConfig()
    metrics: list[MetricConfig] = Field(min_length=1, description="The main one first.")
    gate: PairedGateConfig = PairedGateConfig()
    predictor: PredictorSection
    smoke_test: RequestsConfig

    @property
    def serving_settings(self) -> dict[str, Any]:
        """Section ``predictor``, apart from it what says how much of a cluster it gets, and what is captured."""
        predictor = self.predictor.model_dump(exclude={"kserve"}, exclude_none=True)
        kserve = self.predictor.kserve.model_dump(mode="json", exclude_defaults=True)
        if logger := self.capture.logger(self.name):
            kserve.setdefault("logger", logger)
        captured = self.capture.served_with(self.store_uri)
        return {"predictor": predictor} | ({"kserve": kserve} if kserve else {}) | captured

    @property
    def smoke_test_limits(self) -> dict[str, float]:
        """What of section ``smoke_test`` holds for every version; the rest travels with each."""
        return {"max_latency_ms": self.smoke_test.max_latency_ms, "probability_tolerance": self.smoke_test.tolerance}

    @property
    def example(self) -> bytes:
        """The first recorded request."""
        return body_of(self.smoke_test.requests[0].request)

    @property
    def main_metric(self) -> str:
        """The first that the YAML names."""
        return self.metrics[0].name

    @property
    def least_accuracy(self) -> float:
        """What the metric ``accuracy`` must be at least, where the model has it."""
        return next((each.at_least or 0.0 for each in self.metrics if each.name == "accuracy"), 0.0)

    @property
    def policy(self) -> MetricsGate:
        """What the gate goes by."""
        return MetricsGate(metrics=self.metrics, **self.gate.model_dump())

    @property
    def bounds(self) -> list[Bound]:
        """Those of every metric that its direction makes sense of, or that the YAML sets."""
        found = []
        for metric in self.metrics:
            if metric.better == "higher" or metric.at_least is not None:
                found.append(Bound(metric.name, "at_least"))
            if metric.better == "lower" or metric.at_most is not None:
                found.append(Bound(metric.name, "at_most"))
            found.append(Bound(metric.name, "max_regression"))
        return found

    @property
    def pipeline_arguments(self) -> dict[str, str | None]:
        """Which pipeline is run, as operators take it."""
        if isinstance(self.pipeline, KeptPipeline):
            return {"pipeline": self.pipeline.name, "pipeline_version": self.pipeline.version}
        return {"pipeline_file": self.pipeline if "://" in self.pipeline else str(PROJECT_DIR / self.pipeline)}

    @property
    def pipeline_name(self) -> str:
        """Which pipeline is run, for people."""
        return self.pipeline if isinstance(self.pipeline, str) else self.pipeline.name

    @property
    def model_sources(self) -> list[str]:
        """Where the pipeline may leave the model; the service of one machine knows one more."""
        roots = [root] if (root := self.cluster.pipeline_root) else []
        return [self.store_uri, *roots, *self.outputs.folders]

    @model_validator(mode="after")
    def _metrics_differ(self) -> KubeflowModelConfig:
        if len({metric.name for metric in self.metrics}) < len(self.metrics):
            raise ValueError("metrics: two of them have the same name")
        return self

    @model_validator(mode="after")
    def _predictions_are_there(self) -> KubeflowModelConfig:
        of_them = [metric.name for metric in self.metrics if metric.from_predictions]
        if of_them and not (self.outputs.predictions or self.outputs.document):
            raise ValueError(f"outputs.predictions: {', '.join(of_them)} is computed of them; name the output")
        return self

    @model_validator(mode="after")
    def _parameters_are_fields(self) -> KubeflowModelConfig:
        if wrong := sorted(name for name in self.parameters if not re.match(_PARAMETER, name)):
            raise ValueError(f"parameters: {', '.join(map(repr, wrong))} cannot be a parameter's name")
        fields = [bound.field for bound in self.bounds]
        if doubled := sorted({name for name in fields if fields.count(name) > 1}):
            raise ValueError(f"metrics: two of them have the field {doubled[0]} in the form; rename one")
        if taken := sorted({*_TAKEN, *fields} & self.parameters.keys()):
            raise ValueError(f"parameters: {', '.join(taken)} is a field of every release; rename the parameter")
        if empty := sorted(name for name, value in self.parameters.items() if value is None):
            raise ValueError(f"parameters: {', '.join(empty)} has no value; leave it to the pipeline's default")
        return self

    @model_validator(mode="after")
    def _nobody_knows_its_data(self) -> KubeflowModelConfig:
        if self.drift.reference == "training":
            raise ValueError("drift.reference: nobody knows which rows this pipeline reads; use first_requests")
        return self

    @model_validator(mode="after")
    def _no_rows_are_counted(self) -> KubeflowModelConfig:
        if self.schedule.min_new_rows:
            raise ValueError("schedule.min_new_rows: nobody knows which rows this pipeline reads; leave it out")
        return self
