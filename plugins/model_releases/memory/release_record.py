"""What the registry keeps about a candidate: made in one place, whether it is accepted or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from include.contracts.candidate import Candidate
from include.contracts.registry_tags import GATE_SETTINGS_FACT, SETTINGS_FROM_FACT, ReleaseState
from include.contracts.version.evidence import Evidence
from kubeflow_provider.links import XCOM_RUN_ID, XCOM_RUN_URL
from model_releases.memory import xcoms
from model_releases.memory.outcome import first_xcom
from model_releases.memory.run_trigger import Trigger
from model_releases.registry.service import Release


def make_record(candidate: Candidate, *, state: ReleaseState, reason: str = "", **facts: str) -> Release:
    """Return a candidate's entry for the registry.

    :param facts: more of them, such as ``dag_run_id``; those without a value are left out.
    """
    return Release(
        model=candidate.model,
        version=candidate.version,
        state=state,
        archive_uri=candidate.archive.uri,
        reason=reason,
        facts={name: value for name, value in (candidate.facts() | facts).items() if value},
    )


def gate_settings(policy: Mapping[str, Any] | None) -> str:
    """Return the settings that a gate decided by as the registry keeps them, without those that ask for nothing."""
    return json.dumps(_set(policy), sort_keys=True) if policy else ""


def _set(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _set(part) for name, part in value.items() if part is not None}
    return [_set(part) for part in value] if isinstance(value, list) else value


def run_facts(context: Mapping[str, Any]) -> dict[str, str]:
    """Return which DAG run this is, what started it, and what tasks before this one have found out."""
    trigger = Trigger.of(context["dag_run"]).value if "dag_run" in context else ""
    before = sorted(context["task"].get_flat_relative_ids(upstream=True)) if "task" in context else []
    return {
        "dag_id": context["dag"].dag_id,
        "dag_run_id": context["run_id"],
        "trigger": trigger,
        SETTINGS_FROM_FACT: str((context.get("params") or {}).get("settings_from") or ""),
        "pipeline_run_id": first_xcom(context, before, XCOM_RUN_ID) or "",
        "pipeline_run_url": first_xcom(context, before, XCOM_RUN_URL) or "",
        "gate": first_xcom(context, before, xcoms.GATE) or "",
        GATE_SETTINGS_FACT: gate_settings(first_xcom(context, before, xcoms.POLICY)),
        **(Evidence(**judged).facts() if (judged := first_xcom(context, before, xcoms.JUDGED)) else {}),
        **(first_xcom(context, before, xcoms.APPROVAL) or {}),
        **(first_xcom(context, before, xcoms.CARRIED) or {}),
    }
