"""What started a release."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Trigger(StrEnum):
    """What started a release. The values are facts in the registry: never rename them."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    ASSET = "asset"

    @classmethod
    def of(cls, dag_run: Any) -> Trigger:
        """Return what started a DAG run; whatever a person or another DAG asked for counts as by hand."""
        return _TRIGGERS.get(str(getattr(dag_run.run_type, "value", dag_run.run_type)), cls.MANUAL)


_TRIGGERS = {"scheduled": Trigger.SCHEDULED, "asset_triggered": Trigger.ASSET}
