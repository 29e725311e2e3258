"""What the YAML of any model says, whatever its kind."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from croniter import croniter
from pydantic import Field, ValidationError, model_validator

from include.contracts.monitoring.capture import CaptureConfig
from include.contracts.monitoring.drift_settings import DriftConfig
from include.contracts.monitoring.shadow_settings import ShadowConfig
from include.contracts.rollout import RolloutConfig
from include.contracts.rules.addresses import secrets_of
from include.contracts.schedule import ScheduleConfig, TasksConfig, own_times
from include.contracts.section import Section, problems
from include.contracts.settings import AlertsConfig, ApprovalConfig, ModelName, RetentionConfig
from include.contracts.uris import file_uri, from_outside
from include.models import PROJECT_DIR
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ClusterSettings
from model_releases import ids

if TYPE_CHECKING:
    from airflow.sdk import Asset

#: Where a pipeline puts the report, in the version's folder.
REPORT_PATH = ("report", "report.html")

AnySection = TypeVar("AnySection", bound=Section)


class ModelConfigError(ValueError):
    """A model's YAML is wrong; the message names the file, the setting and what is allowed."""


class ModelConfig(Section):
    """One model that is released, of whatever kind; each kind has a class of its own."""

    name: ModelName = Field(description="Name in the URL, the registry and the DAG id.")
    description: str = Field("", description="Shown in Airflow's UI.")
    owner: str = Field("ml-platform", description="Owner of the DAG.")
    tags: list[str] = Field([], description="Tags of the DAG, besides `release`.")
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
    capture: CaptureConfig = CaptureConfig()
    drift: DriftConfig = DriftConfig()
    shadow: ShadowConfig = ShadowConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    tasks: TasksConfig = TasksConfig()
    rollout: RolloutConfig = RolloutConfig()
    approval: ApprovalConfig = ApprovalConfig()
    alerts: AlertsConfig = AlertsConfig()
    cluster: ClusterSettings = ClusterSettings()

    @property
    @abstractmethod
    def serving_settings(self) -> dict[str, Any]:
        """What the serving system is told of how to serve a version."""

    @property
    @abstractmethod
    def smoke_test_limits(self) -> dict[str, float]:
        """``max_latency_ms`` and ``probability_tolerance`` of a smoke test."""

    @property
    @abstractmethod
    def example(self) -> bytes:
        """A request that anybody may see and every version answers, in the protocol that users speak."""

    @property
    @abstractmethod
    def main_metric(self) -> str:
        """What the first of its metrics is called, for people."""

    @property
    def least_accuracy(self) -> float:
        """What the gate asks for of a candidate; 0 for nothing."""
        return 0.0

    @property
    def watches_drift(self) -> bool:
        """Whether captured requests are compared with what the model was made of."""
        return self.capture.enabled and self.drift.enabled

    @property
    def staleness_uri(self) -> str | None:
        """The folder of what older versions lose on newer data; ``None`` where nobody can measure it."""
        return None

    @property
    def has_shadow(self) -> bool:
        """Whether candidates answer what users have asked before anybody gets their answers."""
        return self.capture.enabled if self.shadow.enabled is None else self.shadow.enabled

    @property
    def beside_live(self) -> dict[str, Any]:
        """What a deployed candidate is asked beside the live version before it gets traffic; empty: nothing."""
        return self.shadow.beside_live(store_uri=self.store_uri) if self.has_shadow else {}

    @property
    def release_assets(self) -> list[Asset]:
        """The assets whose events start a release: those of the YAML, and drift where it does so."""
        from airflow.sdk import Asset

        drift = [ids.drift_asset(self.name)] if self.schedule.retrain_on else []
        return [*(Asset(uri) for uri in self.schedule.assets), *drift]

    @property
    def store_uri(self) -> str:
        """URI of this model's folder in the model store, without a slash at its end."""
        store = self.store or os.environ.get("MODEL_STORE") or file_uri(PROJECT_DIR / ".state" / "store")
        return f"{from_outside(store).rstrip('/')}/{self.name}"

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

    @model_validator(mode="before")
    @classmethod
    def _times_are_its_own(cls, document: Any) -> Any:
        """Put the model's numbers into cron expressions with an ``H``."""
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            return document
        sections = {name: document[name] for name in ("schedule", "drift", "search") if name in document}
        return document | {
            name: section | {"cron": own_times(section["cron"], document["name"])}
            for name, section in sections.items()
            if isinstance(section, dict) and isinstance(section.get("cron"), str)
        }

    @model_validator(mode="after")
    def _cron_is_one(self) -> ModelConfig:
        """Airflow would refuse it with the DAG file, and with it all other models."""
        for name, cron in (("schedule", self.schedule.cron), ("drift", self.drift.cron)):
            if cron is not None:
                check_cron(name, cron)
        return self

    @model_validator(mode="after")
    def _drift_can_be_seen(self) -> ModelConfig:
        if self.schedule.retrain_on and not self.watches_drift:
            raise ValueError("schedule.retrain_on: nobody looks for drift; set capture.enabled and drift.enabled")
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

    def connection(self, service: Literal["pipelines", "serving", "registry", "alerts"]) -> str:
        """Return the id of the connection that leads to a service."""
        return self.connections.get(service, f"{service}_default")

    @property
    def alert_connections(self) -> dict[str, str]:
        """The connection for the alerts of each severity; ``none`` where nobody is told."""
        return dict.fromkeys(("quiet", "normal", "loud"), self.connection("alerts")) | self.alerts.connections


def check_cron(section: str, cron: str) -> None:
    """Make sure that Airflow takes a cron expression.

    :param section: that it stands in.
    :raises ValueError: when it is none.
    """
    if not croniter.is_valid({"@quarterly": "0 0 1 */3 *"}.get(cron, cron)):
        raise ValueError(f"{section}.cron: {cron!r} is no cron expression such as `0 3 * * 1`")


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
