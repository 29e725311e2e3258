"""How the pods of what stands in an InferenceService's spec are told from those of what stood there before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubeflow_provider.hooks._kserve.record import VERSION_LABEL, Record, released_version
from kubeflow_provider.kubernetes.inference_service import APPLIED_LABEL, FIELD_MANAGER

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is expected of an InferenceService.

    :param label: of pods, which tells what they are made from; ``None`` where nobody has put one there.
    :param values: of that label: one for each predictor in the spec.
    :param since: when the spec became what it is.
    :param percent: its part of the traffic, ``None`` for all; Knative mode only.
    :param replaces: revision that was the newest before it (Knative mode), where that is known.
    :param is_certain: whether the label alone tells that KServe has seen the spec; otherwise time must tell.
    """

    label: str | None = None
    values: frozenset[str] = frozenset()
    since: datetime | None = None
    percent: int | None = None
    replaces: str | None = None
    is_certain: bool = False

    def are_on(self, thing: Object) -> bool:
        """Tell whether a pod, or a template of pods, is made from the spec as it is; True where nothing tells."""
        return self.label is None or self.value_on(thing) in self.values

    def value_on(self, thing: Object) -> str | None:
        """Return what a pod or a template is made from."""
        labels = (thing.get("metadata") or {}).get("labels") or {}
        return labels.get(self.label) if self.label else None

    @classmethod
    def of(cls, service: Object) -> Marks:
        """Read an InferenceService, whoever made it."""
        predictor = service["spec"].get("predictor") or {}
        if released_version(service):
            record = Record.of(service)
            return cls(
                label=VERSION_LABEL,
                values=frozenset({record.version}),
                since=record.since,
                percent=record.percent,
                replaces=record.replaces,
                is_certain=True,
            )
        canaries = [item.get("predictor") or {} for item in service["spec"].get("canary") or []]
        values = [(part.get("labels") or {}).get(APPLIED_LABEL) for part in (predictor, *canaries)]
        percent = predictor.get("canaryTrafficPercent")
        since, manager = _last_change(service)
        return cls(
            label=APPLIED_LABEL if all(values) else None,
            values=frozenset(value for value in values if value),
            since=since,
            percent=None if percent == 100 else percent,
            is_certain=all(values) and manager in (None, FIELD_MANAGER),
        )


def managers(service: Object) -> list[str]:
    """Return who has set fields of the spec, in the words of Kubernetes."""
    return sorted({entry["manager"] for entry in _changes(service)})


def is_applied_by_us(service: Object) -> bool:
    """Tell whether an InferenceService was applied by this provider before."""
    return any(
        entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" for entry in _changes(service)
    )


def _last_change(service: Object) -> tuple[datetime | None, str | None]:
    """Return when, and by whom, the spec was changed last."""
    stamps = [(entry["time"], entry["manager"]) for entry in _changes(service) if entry.get("time")]
    if stamps:
        # Kubernetes writes whole seconds: of two in one it is the other's.
        time, manager = max(stamps, key=lambda item: (item[0], item[1] != FIELD_MANAGER))
        return datetime.fromisoformat(time), manager
    created = service["metadata"].get("creationTimestamp")
    return (datetime.fromisoformat(created) if created else None), None


def _changes(service: Object) -> list[Object]:
    return [
        entry
        for entry in service["metadata"].get("managedFields") or []
        if not entry.get("subresource") and "f:spec" in (entry.get("fieldsV1") or {})
    ]
