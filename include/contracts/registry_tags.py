"""How a release is recorded in a registry, MLflow or Kubeflow's: its tags, aliases, states and facts.

They are the record itself. Renaming one loses every release that was recorded under the old name: the live model would
count as never released, and nothing could be compared with it or put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

VERSION_TAG = "release.version"
ARCHIVE_TAG = "release.archive_uri"
STATE_TAG = "release.state"
REASON_TAG = "release.reason"
#: With the state behind it: when the release entered that state.
STATE_TIME_TAG_PREFIX = "release.time."
FACT_TAG_PREFIX = "fact."
METRIC_FACT_PREFIX = "metric."

#: MLflow's usual word for it.
LIVE_ALIAS = "champion"
PREVIOUS_ALIAS = "previous"
#: What stands in the place of these aliases in Kubeflow's Model Registry: properties of the registered model.
LIVE_MARK = "release.live"
PREVIOUS_MARK = "release.previous"
#: And the id of the registry's own record of the InferenceService, where that was asked for.
SERVICE_MARK = "release.inference_service"

#: Fact that links a release to the MLflow run that trained it.
TRACKING_RUN_FACT = "tracking_run_id"
#: Facts that say how a package is packed, as KServe's runtimes know it.
FORMAT_FACT = "model_format"
FORMAT_VERSION_FACT = "model_format_version"
#: Fact that says what serves a version; where it is missing TorchServe does.
SERVING_RUNTIME_FACT = "serving_runtime"
#: Facts that say what started a release, and which pipeline run made it.
TRIGGER_FACT = "trigger"
PIPELINE_RUN_FACT = "pipeline_run_id"
#: Fact that says which metrics a release has, the main one first; without it they are those of a text classifier.
MAIN_METRICS_FACT = "main_metrics"
#: Fact with the model format and protocol of a version, as JSON; without it the model's YAML says all.
PREDICTOR_FACT = "predictor"
#: Fact with the differences to the live version and their intervals, as JSON, where both predicted the same rows.
PAIRED_FACT = "paired_comparison"
#: Fact with the settings that the gate decided by, as JSON: a release's form may have changed the YAML's.
GATE_SETTINGS_FACT = "gate_settings"
#: Fact that says in one line how the data of a release differ from those of what was live then.
DATA_CHANGES_FACT = "data_changes"
#: Fact that says which search has found the settings that a version was trained with: ``search`` and its id.
SETTINGS_FROM_FACT = "settings_from"
#: What started a release that a pipeline made all by itself, without Airflow.
PIPELINE_TRIGGER = "pipeline"


class ReleaseState(StrEnum):
    """State of one version of a model in the registry. The values are tag values there: never rename them."""

    REGISTERED = "registered"
    CANDIDATE = "candidate"
    LIVE = "live"
    RETIRED = "retired"
    REJECTED = "rejected"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"

    @property
    def has_been_live(self) -> bool:
        """True for what users reach or have reached: it was tested on the endpoint once, and can be put back."""
        return self in _STATES_OF_WHAT_WAS_LIVE


_STATES_OF_WHAT_WAS_LIVE = frozenset({ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK})


def state_time_tag(state: str) -> str:
    """Return the tag that holds when a release entered a state; MLflow's tags have no spaces."""
    return f"{STATE_TIME_TAG_PREFIX}{state.replace(' ', '_')}"


def state_tags(state: ReleaseState, reason: str) -> dict[str, str]:
    """Return the tags of a release that enters a state now, in the order in which they must be set: the state last."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {REASON_TAG: reason, state_time_tag(state): now, STATE_TAG: state.value}


def record_tags(
    *,
    version: str,
    archive_uri: str,
    state: ReleaseState,
    reason: str,
    facts: Mapping[str, str],
    times: Mapping[ReleaseState, str],
) -> dict[str, str]:
    """Return all tags of a release that was recorded elsewhere before; the state last."""
    tags = {VERSION_TAG: version, ARCHIVE_TAG: archive_uri}
    tags |= {f"{FACT_TAG_PREFIX}{name}": value for name, value in facts.items()}
    tags |= {state_time_tag(entered): time for entered, time in times.items()}
    return tags | {REASON_TAG: reason, STATE_TAG: state.value}


def facts_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that tags hold."""
    return {fact_name(name): value for name, value in tags.items() if name.startswith(FACT_TAG_PREFIX)}


def times_of(tags: Mapping[str, str]) -> dict[ReleaseState, str]:
    """Return when a release entered its states, as tags hold it."""
    return {state: tags[name] for state in ReleaseState if (name := state_time_tag(state)) in tags}


def fact_name(tag: str) -> str:
    """Return the name of the fact that a tag holds; the metrics of what was live have had another one in 0.1.0."""
    name = tag.removeprefix(FACT_TAG_PREFIX)
    before = f"{METRIC_FACT_PREFIX}champion."
    return f"{METRIC_FACT_PREFIX}live.{name.removeprefix(before)}" if name.startswith(before) else name
