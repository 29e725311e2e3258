"""What can be seen of one InferenceService at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.record import VERSION_LABEL, Record

Object = dict[str, Any]

REVISION_LABEL = "serving.knative.dev/revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """An InferenceService with everything that was made for it.

    :param pods: of all its versions.
    :param events: of the namespace.
    :param deployments: its own; Standard mode only.
    """

    service: Object
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    deployments: Sequence[Object] = ()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def record(self) -> Record:
        return Record.of(self.service)

    @property
    def mode(self) -> Mode | None:
        return mode_of(self.service)

    @property
    def status(self) -> Object:
        return self.service.get("status") or {}

    @property
    def component(self) -> Object:
        """The predictor's part of the status."""
        return (self.status.get("components") or {}).get("predictor") or {}

    def condition(self, kind: str) -> Object:
        """Return a condition of the service, empty where it has none."""
        return find(self.status.get("conditions"), kind)

    def own_pods(self) -> list[Object]:
        """Return the pods of the version in the spec, those aside that are going away."""
        return [pod for pod in self.pods if self._is_own(pod) and not pod["metadata"].get("deletionTimestamp")]

    def _is_own(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        # A version that was put back has pods of its earlier revision as well.
        newest = self.component.get("latestCreatedRevision") if self.mode is Mode.KNATIVE else None
        return labels.get(VERSION_LABEL) == self.record.version and newest in (None, labels.get(REVISION_LABEL))

    def events_of(self, thing: Object) -> Iterator[Object]:
        """Yield what was said about an object, oldest first."""
        uid = thing["metadata"].get("uid")
        yield from (event for event in self.events if event.get("involvedObject", {}).get("uid") == uid)

    def events_of_parts(self) -> Iterator[Object]:
        """Yield what was said about the replica sets, deployments and revisions since this version came."""
        prefix = f"{self.service['metadata']['name']}-predictor"
        for event in self.events:
            about = event.get("involvedObject", {})
            is_part = about.get("kind") != "Pod" and str(about.get("name", "")).startswith(prefix)
            if is_part and self.is_news(event):
                yield event

    def is_news(self, event: Object) -> bool:
        """Tell whether something was said since this version came, and not about the one before."""
        since, moment = self.record.since, time_of(event)
        return since is None or moment is None or moment >= since

    def has_pods_since(self, event: Object) -> bool:
        """Tell whether pods of the version came into being after something was said: it is over then."""
        moment = time_of(event)
        born = (parse_time(pod["metadata"].get("creationTimestamp")) for pod in self.own_pods())
        return moment is not None and any(stamp is not None and stamp > moment for stamp in born)

    def seconds_since(self, moment: datetime | None) -> float:
        """Return how long ago a moment was; 0 where it is not known."""
        return (self.now - moment).total_seconds() if moment else 0.0


def find(conditions: Sequence[Object] | None, kind: str) -> Object:
    """Return the condition of a kind, empty where there is none."""
    return next((item for item in conditions or [] if item.get("type") == kind), {})


def parse_time(text: str | None) -> datetime | None:
    """Read a time stamp of Kubernetes."""
    return datetime.fromisoformat(text) if text else None


def time_of(event: Object) -> datetime | None:
    """Return when an event was last seen; each of its writers fills in another field."""
    series = event.get("series") or {}
    stamps = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return parse_time(next((stamp for stamp in stamps if stamp), None))
