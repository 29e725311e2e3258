"""The YAML of a text classifier, which this project's own pipeline trains."""

from __future__ import annotations

import json
import os
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from include.contracts.batch.settings import PredictionsConfig
from include.contracts.metrics import MAIN_METRICS
from include.contracts.monitoring.drift import STALENESS_FOLDER
from include.contracts.queries import query_names
from include.contracts.rollout import SmokeTestConfig
from include.contracts.rules.allowed_sources import HUB
from include.contracts.search.settings import SearchConfig
from include.contracts.settings import ServingConfig, TrainedModel
from include.contracts.version.runtimes import SERVING_RUNTIMES
from include.models import PROJECT_DIR
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from model_releases.config.model import ModelConfig, check_cron

#: A text that anybody may see.
EXAMPLE_TEXT = "The food was great and the staff were friendly."


class ServingSection(ServingConfig):
    """How the model is served: what packaging goes by, and what a cluster is asked for."""

    kserve: PredictorSettings = PredictorSettings()

    @model_validator(mode="before")
    @classmethod
    def _a_gpu_runs_pytorch(cls, values: Any) -> Any:
        """A pod with a GPU is given what can use it, whatever is the fastest where the model is packed."""
        if isinstance(values, dict) and isinstance(values.get("kserve"), dict) and values["kserve"].get("gpu"):
            precision = values.get("precision", "auto")
            if precision in ("int8", "bfloat16"):
                raise ValueError(f"precision: {precision} is measured on CPUs only, and kserve.gpu asks for a GPU")
            return values | {"precision": "float32"}
        return values

    @model_validator(mode="before")
    @classmethod
    def _a_cluster_has_a_runtime_for_it(cls, values: Any) -> Any:
        name = SERVING_RUNTIMES.get(values.get("runtime", "")) if isinstance(values, dict) else None
        kserve = values.get("kserve", {}) if name else None
        if isinstance(kserve, dict) and "runtime" not in kserve:
            return values | {"kserve": {**kserve, "runtime": name}}
        return values

    @property
    def packaging(self) -> dict[str, Any]:
        """What training is told: a pod's memory is no reason to train again."""
        return self.model_dump(exclude={"kserve"})


class TextClassifierConfig(ModelConfig, TrainedModel):
    """A text classifier that is released."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["text-classifier"] = Field("text-classifier", description="What kind of model it is.")
    pipeline: str = Field(
        "include/pipelines/train_classifier.yaml", description="Compiled IR that trains, packages and evaluates."
    )
    smoke_test: SmokeTestConfig = SmokeTestConfig()
    serving: ServingSection = ServingSection()
    predictions: PredictionsConfig = PredictionsConfig()
    search: SearchConfig = SearchConfig()

    @property
    def staleness_uri(self) -> str:
        """The folder of what older versions lose on newer data."""
        return f"{self.store_uri}/{STALENESS_FOLDER}"

    @property
    def serving_settings(self) -> dict[str, Any]:
        """Section ``serving``, and what is captured."""
        section = self.serving.model_dump(mode="json")
        if (logger := self.capture.logger(self.name)) and section["kserve"]["logger"] is None:
            section["kserve"]["logger"] = logger
        return section | self.capture.served_with(self.store_uri)

    def replay(self, *, live_version: str) -> dict[str, Any]:
        """Return which captured requests the pipeline is to ask a candidate; empty: none.

        :param live_version: template of the version whose answers are compared with; may render to nothing.
        """
        if not (self.has_shadow and self.capture.enabled):
            return {}
        return self.shadow.replay(store_uri=self.store_uri, live_version=live_version)

    @property
    def smoke_test_limits(self) -> dict[str, float]:
        """Section ``smoke_test``."""
        return self.smoke_test.model_dump()

    @property
    def example(self) -> bytes:
        """A request for a text that anybody may see."""
        return json.dumps({"instances": [EXAMPLE_TEXT]}).encode()

    @property
    def main_metric(self) -> str:
        """Macro F1."""
        title = MAIN_METRICS[0].title
        return title[:1].upper() + title[1:]

    @property
    def least_accuracy(self) -> float:
        """``gate.min_accuracy``."""
        return self.gate.min_accuracy

    @property
    def allowed_sources(self) -> list[str]:
        """What the trigger form may name, see :mod:`include.contracts.rules.allowed_sources`.

        ``$ALLOWED_SOURCES`` of a worker names more, for all models; `make release` names everything with it.
        """
        installation = (entry.strip() for entry in os.environ.get("ALLOWED_SOURCES", "").split(","))
        own = [*self.data.train, *self.data.evaluation, self.training.base_model, self.store_uri, HUB]
        return [*own, *self.data.allowed_sources, *filter(None, installation)]

    @property
    def allowed_outputs(self) -> list[str]:
        """Where the form of the batch prediction may have written; ``$ALLOWED_OUTPUTS`` of a worker names more."""
        installation = (entry.strip() for entry in os.environ.get("ALLOWED_OUTPUTS", "").split(","))
        return [f"{self.store_uri}/predictions", *self.predictions.allowed_outputs, *filter(None, installation)]

    @property
    def named_addresses(self) -> list[str]:
        """All addresses that preprocessing is told of when no form says otherwise."""
        return [*self.data.train, *self.data.evaluation, self.training.base_model, *self.allowed_sources]

    @property
    def pipeline_file(self) -> str:
        """Absolute path of the compiled IR."""
        return str(PROJECT_DIR / self.pipeline)

    @model_validator(mode="after")
    def _search_can_be_run(self) -> TextClassifierConfig:
        if self.search.cron is not None:
            check_cron("search", self.search.cron)
        if reason := self.search.refused(self.training):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _gate_knows_its_labels(self) -> TextClassifierConfig:
        named = self.gate.min_class_f1 if isinstance(self.gate.min_class_f1, dict) else {}
        if unknown := sorted(named.keys() - set(self.data.labels.values())):
            raise ValueError(
                f"gate.min_class_f1: {', '.join(map(repr, unknown))} is no label; labels are "
                f"{', '.join(map(repr, self.data.labels.values()))}"
            )
        return self

    @model_validator(mode="after")
    def _gate_knows_its_slices(self) -> TextClassifierConfig:
        names = {rule.name for rule in self.data.slices}
        for group, slices in self.gate.equal_groups.items():
            if unknown := sorted(set(slices) - names):
                raise ValueError(
                    f"gate.equal_groups.{group}: {', '.join(map(repr, unknown))} is no slice of data.slices; those are "
                    f"{', '.join(map(repr, sorted(names))) or 'none'}"
                )
        for setting in ("min_slice_macro_f1", "max_slice_regression"):
            named = getattr(self.gate, setting)
            if isinstance(named, dict) and (unknown := sorted(named.keys() - names)):
                raise ValueError(
                    f"gate.{setting}: {', '.join(map(repr, unknown))} is no slice of data.slices; those are "
                    f"{', '.join(map(repr, sorted(names))) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _packaging_is_not_cached(self) -> TextClassifierConfig:
        """Every step of the project's own pipelines says so itself."""
        step = self.cluster.steps.get("package")
        if step is not None and step.cache:
            raise ValueError(
                "cluster.steps.package.cache: this step writes to the model store, where Kubeflow's cache does not "
                "look; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _labelled_requests_have_texts(self) -> TextClassifierConfig:
        if self.data.labelled_requests and not (self.capture.enabled and self.capture.texts == "keep"):
            raise ValueError("data.labelled_requests: there are no texts; set capture.enabled and capture.texts: keep")
        return self

    @model_validator(mode="after")
    def _changed_answers_can_be_seen(self) -> TextClassifierConfig:
        is_seen = self.has_shadow and self.capture.enabled and self.capture.texts == "keep"
        if self.gate.max_changed_share < 1 and not is_seen:
            raise ValueError(
                "gate.max_changed_share: no request can be answered again; set capture.enabled and capture.texts: keep"
            )
        return self

    @model_validator(mode="after")
    def _queries_are_there(self) -> TextClassifierConfig:
        named = query_names((*self.data.train, *self.data.evaluation))
        if unknown := [name for name in named if name not in self.data.queries]:
            raise ValueError(f"data.queries: has no {', '.join(map(repr, unknown))}, which a source names")
        return self
