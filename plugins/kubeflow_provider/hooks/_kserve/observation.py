"""What can be seen of one InferenceService at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kubeflow_provider.hooks._kserve.marks import Marks
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of

Object = dict[str, Any]

REVISION_LABEL = "serving.knative.dev/revision"
_TEMPLATE_LABEL = "pod-template-hash"


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
    def marks(self) -> Marks:
        """By what the pods of the present spec are known."""
        return Marks.of(self.service)

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
        """Return the pods of what stands in the spec, those aside that are going away."""
        marks = self.marks
        present = [pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp")]
        if self.mode is Mode.KNATIVE:
            # What was put back has pods of its earlier revision as well.
            newest = self.component.get("latestCreatedRevision")
            present = [pod for pod in present if newest in (None, _label(pod, REVISION_LABEL))]
        elif marks.label is None:
            present = _youngest(present)
        return [pod for pod in present if marks.are_on(pod)]

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
        since, moment = self.marks.since, time_of(event)
        return since is None or moment is None or moment >= since

    def has_pods_since(self, event: Object) -> bool:
        """Tell whether pods of the version came into being after something was said: it is over then."""
        moment = time_of(event)
        born = (parse_time(pod["metadata"].get("creationTimestamp")) for pod in self.own_pods())
        return moment is not None and any(stamp is not None and stamp > moment for stamp in born)

    def seconds_since(self, moment: datetime | None) -> float:
        """Return how long ago a moment was; 0 where it is not known."""
        return (self.now - moment).total_seconds() if moment else 0.0


def _youngest(pods: Sequence[Object]) -> list[Object]:
    """Return the pods of the template that each Deployment has made pods of last."""
    newest: dict[str | None, Object] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        newest[_label(pod, "app")] = pod
    return [pod for pod in pods if _label(pod, _TEMPLATE_LABEL) == _label(newest[_label(pod, "app")], _TEMPLATE_LABEL)]


def _label(pod: Object, name: str) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(name)


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
