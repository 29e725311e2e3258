"""Reads ``include/models/*.yaml``: one file for each model that is released. DAG files do it at every parse."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from croniter import croniter
from pydantic import ConfigDict, Field, ValidationError, model_validator

from include.contracts.queries import query_names
from include.contracts.rollout import RolloutConfig, SmokeTestConfig
from include.contracts.rules.addresses import secrets_of
from include.contracts.rules.allowed_sources import HUB
from include.contracts.schedule import ScheduleConfig, TasksConfig
from include.contracts.section import Section, problems
from include.contracts.settings import (
    AlertsConfig,
    ApprovalConfig,
    RetentionConfig,
    ServingConfig,
    TrainedModel,
)
from include.contracts.uris import file_uri, from_outside
from include.contracts.version.runtimes import SERVING_RUNTIMES
from include.models import MODELS_DIR, PROJECT_DIR, parse_model
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from kubeflow_provider.kubernetes.settings import ClusterSettings
from model_releases import ids

#: Where a pipeline puts the report, in the version's folder.
REPORT_PATH = ("report", "report.html")

AnySection = TypeVar("AnySection", bound=Section)


class ModelConfigError(ValueError):
    """A model's YAML is wrong; the message names the file, the setting and what is allowed."""


class ServingSection(ServingConfig):
    """How the model is served: what packaging goes by, and what a cluster is asked for."""

    kserve: PredictorSettings = PredictorSettings()

    @model_validator(mode="before")
    @classmethod
    def _a_gpu_runs_pytorch(cls, values: Any) -> Any:
        """A pod with a GPU is given what can use it, whatever is the fastest where the model is packed."""
        if isinstance(values, dict) and isinstance(values.get("kserve"), dict) and values["kserve"].get("gpu"):
            if values.get("precision", "auto") == "int8":
                raise ValueError("precision: int8 runs on CPUs only, and kserve.gpu asks for a GPU")
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


class ModelConfig(TrainedModel):
    """One model that is released."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field("", description="Shown in Airflow's UI.")
    owner: str = Field("ml-platform", description="Owner of the DAG.")
    tags: list[str] = Field([], description="Tags of the DAG, besides `release`.")
    pipeline: str = Field(
        "include/pipelines/train_classifier.yaml", description="Compiled IR that trains, packages and evaluates."
    )
    store: str = Field("", description="Model store URI; default: $MODEL_STORE, else `file://` below `.state`.")
    training_timeout_hours: Annotated[float, Field(gt=0)] = Field(12, description="The run is cancelled after this.")
    keep_versions: Annotated[int, Field(ge=2)] = Field(
        3, description="Versions kept in serving, the live one included."
    )
    connections: dict[Literal["pipelines", "serving", "registry", "alerts", "store"], str] = Field(
        {},
        description="Airflow connection for each service, where it is not `<service>_default`; `store`: for a model "
        "store that needs one, none by default.",
    )
    retention: RetentionConfig = RetentionConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    tasks: TasksConfig = TasksConfig()
    rollout: RolloutConfig = RolloutConfig()
    approval: ApprovalConfig = ApprovalConfig()
    smoke_test: SmokeTestConfig = SmokeTestConfig()
    alerts: AlertsConfig = AlertsConfig()
    serving: ServingSection = ServingSection()
    cluster: ClusterSettings = ClusterSettings()

    @property
    def store_uri(self) -> str:
        """URI of this model's folder in the model store, without a slash at its end."""
        store = self.store or os.environ.get("MODEL_STORE") or file_uri(PROJECT_DIR / ".state" / "store")
        return f"{from_outside(store).rstrip('/')}/{self.name}"

    @property
    def allowed_sources(self) -> list[str]:
        """What the trigger form may name, see :mod:`include.contracts.rules.allowed_sources`.

        ``$ALLOWED_SOURCES`` of a worker names more, for all models; `make release` names everything with it.
        """
        installation = (entry.strip() for entry in os.environ.get("ALLOWED_SOURCES", "").split(","))
        own = [*self.data.train, *self.data.evaluation, self.training.base_model, self.store_uri, HUB]
        return [*own, *self.data.allowed_sources, *filter(None, installation)]

    def report_uri(self, version: str) -> str:
        """Return where a version's report lies in the store."""
        return "/".join((self.store_uri, version, *REPORT_PATH))

    @property
    def store_conn_id(self) -> str | None:
        """Airflow connection for the model store, where it needs one."""
        return self.connections.get("store")

    @property
    def release_dag_id(self) -> str:
        """The DAG that releases the model."""
        return ids.release_dag(self.name)

    @property
    def roll_back_dag_id(self) -> str:
        """DAG that puts an earlier release of this model back."""
        return ids.roll_back_dag(self.name)

    @property
    def pipeline_file(self) -> str:
        """Absolute path of the compiled IR."""
        return str(PROJECT_DIR / self.pipeline)

    @model_validator(mode="after")
    def _cron_is_one(self) -> ModelConfig:
        """Airflow would refuse it with the DAG file, and with it all other models."""
        cron = self.schedule.cron
        if cron is not None and not croniter.is_valid({"@quarterly": "0 0 1 */3 *"}.get(cron, cron)):
            raise ValueError(f"schedule.cron: {cron!r} is no cron expression such as `0 3 * * 1`")
        return self

    @model_validator(mode="after")
    def _store_has_no_secret(self) -> ModelConfig:
        """Its address stands in records, parameters and pods."""
        if secrets_of(self.store_uri):
            raise ValueError(
                "store, $MODEL_STORE: no user, password or signature belongs into the address; put them into a "
                "connection, name it as `connections.store`, and give them to steps as `cluster.secrets`"
            )
        return self

    @model_validator(mode="after")
    def _gate_knows_its_labels(self) -> ModelConfig:
        named = self.gate.min_class_f1 if isinstance(self.gate.min_class_f1, dict) else {}
        if unknown := sorted(named.keys() - set(self.data.labels.values())):
            raise ValueError(
                f"gate.min_class_f1: {', '.join(map(repr, unknown))} is no label; labels are "
                f"{', '.join(map(repr, self.data.labels.values()))}"
            )
        return self

    @model_validator(mode="after")
    def _packaging_is_not_cached(self) -> ModelConfig:
        """Every step of the project's own pipelines says so itself."""
        step = self.cluster.steps.get("package")
        if step is not None and step.cache:
            raise ValueError(
                "cluster.steps.package.cache: this step writes to the model store, where Kubeflow's cache does not "
                "look; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _queries_are_there(self) -> ModelConfig:
        named = query_names((*self.data.train, *self.data.evaluation))
        if unknown := [name for name in named if name not in self.data.queries]:
            raise ValueError(f"data.queries: has no {', '.join(map(repr, unknown))}, which a source names")
        return self

    def connection(self, service: Literal["pipelines", "serving", "registry", "alerts"]) -> str:
        """Return the id of the connection that leads to a service."""
        return self.connections.get(service, f"{service}_default")

    @property
    def alert_connections(self) -> dict[str, str]:
        """The connection for the alerts of each severity; ``none`` where nobody is told."""
        return dict.fromkeys(("quiet", "normal", "loud"), self.connection("alerts")) | self.alerts.connections


def read_section(section: type[AnySection], values: Mapping[str, Any], *, name: str) -> AnySection:
    """Read a section that an operator was given.

    :param values: templates may have turned numbers and booleans into text.
    :param name: of the section, for the error message.
    :raises InvalidRequestError: naming every setting that is unknown or wrong.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidRequestError(f"Settings are wrong: {problems(error, name)}.") from None


def read_model_config(path: str | Path) -> ModelConfig:
    """Read one YAML file.

    :raises ModelConfigError: naming the file and every setting that is wrong.
    """
    path = Path(path)
    try:
        document = parse_model(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelConfigError(f"{path}: cannot be read as YAML: {error}") from error
    except yaml.YAMLError as error:
        raise ModelConfigError(f"{path}: cannot be read as YAML: {_place(error)}") from None
    if not isinstance(document, dict):
        raise ModelConfigError(
            f"{path}: expected settings such as `name:` and `data:`, found {type(document).__name__}."
        )
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        raise ModelConfigError(f"{path}: {problems(error)}") from None


def _place(error: yaml.YAMLError) -> str:
    """Say what is wrong and where, without the line itself: it may hold an address with a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"{error.problem} in line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"


def read_model_configs(folder: str | Path | None = None, *, leave_out_wrong: bool = False) -> list[ModelConfig]:
    """Read every ``*.yaml`` of a folder, in the order of the file names.

    :param folder: default ``$MODELS_DIR``, else ``include/models`` of this project.
    :param leave_out_wrong: for what must go on for the other models, such as putting a release back.
    :raises ModelConfigError: when a file is wrong or two files name the same model.
    """
    folder = Path(folder or os.environ.get("MODELS_DIR") or MODELS_DIR)
    configs: dict[str, tuple[Path, ModelConfig]] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            config = read_model_config(path)
        except ModelConfigError:
            if leave_out_wrong:
                continue
            raise
        if config.name in configs:
            raise ModelConfigError(f"{path}: model {config.name!r} is defined in {configs[config.name][0]} already.")
        configs[config.name] = (path, config)
    return [config for _, config in configs.values()]
