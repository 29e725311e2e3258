"""How a release ended: made by its report, read by the release card and the alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

from model_releases.memory.failures import Failure


class OutcomeKind(Enum):
    """How it ended."""

    RELEASED = "released"
    REJECTED = "rejected"
    STOPPED = "stopped"
    NOT_DUE = "not due"
    FAILED = "failed"


class RollBackResult(Enum):
    """What became of the roll back."""

    NOT_NEEDED = "not needed: nothing had been deployed"
    WORKED = "worked: what was live before the release is live"
    FAILED = "FAILED: somebody has to look now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a release ended.

    :param line: why, in one line.
    :param failure: what went wrong first; ``None`` unless it failed.
    :param roll_back_failure: why the roll back failed; ``None`` unless it did.
    :param serving_now: the version that answers, or in words why it is not known.
    :param endpoint: address that users call, empty when it is not known.
    :param links: name -> page for people.
    :param action: what was done, as the first words of a title.
    """

    model: str
    version: str
    kind: OutcomeKind
    line: str
    failure: Failure | None = None
    roll_back: RollBackResult = RollBackResult.NOT_NEEDED
    roll_back_failure: Failure | None = None
    serving_now: str = ""
    endpoint: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    action: str = "Release of"

    @property
    def label(self) -> str:
        """The outcome as a metric has it: its kind, or ``roll_back_failed`` when it is worse than failed."""
        is_worse = self.kind is OutcomeKind.FAILED and self.roll_back is RollBackResult.FAILED
        return "roll_back_failed" if is_worse else self.kind.value.replace(" ", "_")

    @property
    def title(self) -> str:
        """What was done to which version."""
        return f"{self.action} {self.model} {self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return asdict(self) | {"kind": self.kind.value, "roll_back": self.roll_back.name}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Outcome:
        """Read what :meth:`to_json` wrote."""
        failures = {
            name: Failure(**document[name]) if document[name] else None for name in ("failure", "roll_back_failure")
        }
        kind, roll_back = OutcomeKind(document["kind"]), RollBackResult[document["roll_back"]]
        return cls(**{**document, **failures, "kind": kind, "roll_back": roll_back})


def roll_back_result(state: str | None) -> RollBackResult:
    """Return what the state of the task that rolls back means."""
    if state == "success":
        return RollBackResult.WORKED
    if state in ("failed", "upstream_failed"):
        return RollBackResult.FAILED
    return RollBackResult.NOT_NEEDED


def first_xcom(context: Mapping[str, Any], task_ids: Sequence[str], key: str) -> Any:
    """Return the first value under a key among tasks of this DAG run, ``None`` when there is none."""
    from airflow.sdk.execution_time.xcom import XCom

    for task_id in task_ids:
        # Not `get_one`: it writes an error into the log for every value that is not there.
        values = XCom.get_all(key=key, dag_id=context["dag"].dag_id, run_id=context["run_id"], task_id=task_id)
        if values:
            return values[0]
    return None


def dag_run_url(context: Mapping[str, Any]) -> str:
    """Return the page of this DAG run in Airflow's UI."""
    return run_url(context["dag"].dag_id, context["run_id"])


def run_url(dag_id: str, run_id: str) -> str:
    """Return the page of a DAG run in Airflow's UI."""
    from airflow.sdk import conf

    base = conf.get("api", "base_url", fallback="") or f"http://localhost:{conf.get('api', 'port', fallback='8080')}"
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}"
