"""The history of a model: what the registry recorded, and the releases that failed before they came that far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.contracts.metrics import metrics_of
from include.contracts.registry_tags import (
    DATA_CHANGES_FACT,
    METRIC_FACT_PREFIX,
    PIPELINE_TRIGGER,
    TRIGGER_FACT,
    ReleaseState,
)
from model_releases.versions import version_time

if TYPE_CHECKING:
    from model_releases.registry.service import Release
    from model_releases.releases_page.airflow_runs import AirflowRun

#: Set by retention when it deletes a version's archive from the model store.
ARCHIVE_DELETED_FACT = "archive_deleted_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownState:
    """A state as people see it: never by its colour alone.

    :param sign: one character, hidden from screen readers.
    :param word: what it is called.
    :param kind: CSS class.
    """

    sign: str
    word: str
    kind: str


_SHOWN = {
    ReleaseState.LIVE: ShownState(sign="●", word="live", kind="live"),
    ReleaseState.RETIRED: ShownState(sign="○", word="retired", kind="retired"),
    ReleaseState.CANDIDATE: ShownState(sign="◐", word="candidate", kind="candidate"),
    ReleaseState.REGISTERED: ShownState(sign="◌", word="registered", kind="candidate"),
    ReleaseState.REJECTED: ShownState(sign="✕", word="rejected", kind="rejected"),
    ReleaseState.FAILED: ShownState(sign="▲", word="failed", kind="failed"),
    ReleaseState.ROLLED_BACK: ShownState(sign="↩", word="rolled back", kind="rolled-back"),
}


def shown_state(state: ReleaseState) -> ShownState:
    """Return how a state is shown."""
    return _SHOWN[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One release.

    :param since: when it entered its state; its version's time where nobody recorded that.
    :param data: how its data differ from those of what was live then; empty where that is not known.
    :param main_metric: of its kind of model; ``None`` for a release that was never evaluated.
    :param triggered: who or what started it, and how.
    :param run: its DAG run, as (DAG id, run id).
    :param is_registered: False for a release that failed before the registry heard of it.
    :param can_go_back: whether it can be put back.
    """

    version: str
    state: ReleaseState
    since: datetime | None
    reason: str = ""
    data: str = ""
    main_metric: float | None = None
    triggered: str = ""
    run: tuple[str, str] | None = None
    pipeline_url: str = ""
    registry_url: str = ""
    is_registered: bool = True
    has_report: bool = False
    can_go_back: bool = False

    @property
    def shown(self) -> ShownState:
        """How its state is shown."""
        return shown_state(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRelease:
    """A release that a pipeline made without Airflow, of a model that has no page here.

    :param sha256: of its archive.
    """

    model: str
    sha256: str
    row: HistoryRow


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Some of the releases, newest first.

    :param older: version to ask before for the next page; ``None`` on the last one.
    """

    rows: Sequence[HistoryRow] = field(default_factory=tuple)
    older: str | None = None


def registered_row(
    release: Release, run: AirflowRun | None, *, live_version: str | None, pipeline_url: str | None = None
) -> HistoryRow:
    """Return the row of a release that is in the registry.

    :param run: its DAG run, where Airflow still has it.
    :param live_version: what users reach now, which cannot be put back.
    :param pipeline_url: page of its pipeline run, where its record does not say that itself.
    """
    facts = release.facts
    return HistoryRow(
        version=release.version,
        state=release.state,
        since=time_of(release.times.get(release.state, "")) or version_time(release.version),
        reason=release.reason,
        data=facts.get(DATA_CHANGES_FACT, ""),
        main_metric=main_metric(release),
        triggered=triggered_by(run, facts),
        run=run_of(facts),
        pipeline_url=web_address(facts.get("pipeline_run_url") or pipeline_url),
        registry_url=web_address(release.url),
        has_report=bool(facts.get("report_uri")),
        can_go_back=can_go_back(release, live_version=live_version),
    )


def main_metric(release: Release) -> float | None:
    """Return what was measured of a release by the first metric of its kind of model, ``None`` where nothing was."""
    first, *_ = metrics_of(release.facts)
    return number(release.facts.get(f"{METRIC_FACT_PREFIX}candidate.{first.name}"))


def unregistered_row(run: AirflowRun) -> HistoryRow:
    """Return the row of a release that failed before it was registered."""
    return HistoryRow(
        version=run.version,
        state=ReleaseState.FAILED,
        since=run.run_after,
        reason=run.reason or "The DAG run failed without a message; the logs of its tasks say more.",
        triggered=triggered_by(run, {}),
        run=(run.dag_id, run.run_id),
        is_registered=False,
    )


def merged(registered: Iterable[HistoryRow], unregistered: Iterable[HistoryRow]) -> list[HistoryRow]:
    """Return the rows of both, newest first; what is registered counts where both know a version."""
    rows = {row.version: row for row in unregistered} | {row.version: row for row in registered}
    return sorted(rows.values(), key=lambda row: row.version, reverse=True)


def can_go_back(release: Release, *, live_version: str | None) -> bool:
    """Tell whether a release can be put back: it was live once, its archive is there, and it is not live now."""
    return (
        release.state.has_been_live and release.version != live_version and not release.facts.get(ARCHIVE_DELETED_FACT)
    )


def run_of(facts: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the DAG run that made a release, as (DAG id, run id)."""
    dag_id, run_id = facts.get("dag_id"), facts.get("dag_run_id")
    return (dag_id, run_id) if dag_id and run_id else None


def triggered_by(run: AirflowRun | None, facts: Mapping[str, str]) -> str:
    """Say who or what started a release; Airflow may have forgotten the run by now."""
    how = (run.run_type if run else "") or facts.get(TRIGGER_FACT, "")
    how = _TRIGGERS.get(how, how)
    return f"{run.user} ({how})" if run and run.user else how


_TRIGGERS = {"asset_triggered": "new data", "asset": "new data", PIPELINE_TRIGGER: "in Kubeflow, without Airflow"}


def time_of(text: str) -> datetime | None:
    """Read a time of the registry, ``None`` where there is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def number(text: str | None) -> float | None:
    """Read a number among the facts, ``None`` where there is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def web_address(text: str | None) -> str:
    """Return an address that a browser may be led to, empty for anything else that stands in its place."""
    return text if text and text.startswith(("https://", "http://")) else ""
