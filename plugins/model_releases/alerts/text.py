"""What an alert about a release says, and how loudly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from model_releases.alerts.alert import Alert, Severity
from model_releases.memory.failures import Failure
from model_releases.memory.outcome import Outcome, OutcomeKind, RollBackResult

_WORTH_TELLING = frozenset({OutcomeKind.FAILED, OutcomeKind.REJECTED, OutcomeKind.STOPPED})


_ADDRESS = re.compile(r"(https?|file)://[^\s@\[\]()<>]+")
#: Lines whose values may be an outsider's alone.
_OUTSIDERS = frozenset({"Reason", "Failed check", "Expected", "Got", "Roll back failed with"})
#: Where a mention (``@all``, ``<!channel>``) or a link (``[a](b)``, ``http://``, ``www.``) would begin to be one.
_MARKUP = re.compile(r"(?<=@)(?=\w)|(?<=<)(?=[@!#&])|(?<=\])(?=\()|(?<=:)(?=//)|(?<=\bwww)(?=\.)")

#: Stands where :func:`shortened` took something out.
_CUT = "\n[... shortened for this receiver: the task's log has all of it ...]\n"


def release_alert(outcome: Outcome, *, dag_id: str, run_id: str, tells_success: bool = False) -> Alert | None:
    """Return what there is to tell of a release, ``None`` when it was not due, or went well and that is not asked for.

    The same failure of the same DAG run is the same alert, however often its tasks are cleared.
    """
    if outcome.kind not in _WORTH_TELLING and not (tells_success and outcome.kind is OutcomeKind.RELEASED):
        return None
    failure = outcome.failure
    what = (failure.task_id, failure.message) if failure else (outcome.kind.value, outcome.line)
    parts = (dag_id, run_id, *what, outcome.roll_back.name)
    return Alert(
        key=f"release/{outcome.model}/{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}",
        severity=_severity(outcome),
        title=_title(outcome),
        body=body(_failure_lines(outcome) if outcome.kind is OutcomeKind.FAILED else _quiet_lines(outcome)),
    )


def body(lines: Mapping[str, str]) -> str:
    """Return ``name: value`` lines without those that have no value.

    An address that is all of a value is a link; whatever else looks like a link, a mention or a line of its own may be
    an outsider's words (the name of a source, what a server answers), and is none where it arrives.
    """
    return "\n".join(
        f"{name}: {value if name not in _OUTSIDERS and _ADDRESS.fullmatch(value) else plain(value)}"
        for name, value in lines.items()
        if value
    )


def plain(text: str) -> str:
    """Return a text of which no receiver makes a mention, a link or a line of the alert's own; it reads the same."""
    return _MARKUP.sub("\u200b", text).replace("\n", "\n    ")


def shortened(text: str, limit: int) -> str:
    """Return a text that a receiver takes: one that is too long loses its middle, and says so.

    Model, version and task stand at the start; what is served now, the links and the last words of a log at the end.

    :param limit: characters that the receiver takes.
    """
    if len(text) <= limit:
        return text
    if limit < 3 * len(_CUT):  # of a pager, for example: the start is all that there is room for
        return text[:limit]
    room = limit - len(_CUT)
    head = room // 3
    return f"{text[:head].rstrip()}{_CUT}{text[head - room :].lstrip()}"


def _severity(outcome: Outcome) -> Severity:
    if outcome.roll_back is RollBackResult.FAILED:
        return Severity.LOUD
    return Severity.NORMAL if outcome.kind is OutcomeKind.FAILED else Severity.QUIET


def _title(outcome: Outcome) -> str:
    if outcome.roll_back is RollBackResult.FAILED:
        return f"roll back of {outcome.model} {outcome.version} failed"
    return f"{outcome.title} {outcome.kind.value}"


def _failure_lines(outcome: Outcome) -> dict[str, str]:
    failure = outcome.failure or Failure(task_id="", error="", message=outcome.line)
    roll_back_failure = outcome.roll_back_failure if outcome.roll_back_failure != outcome.failure else None
    return {
        "Model": outcome.model,
        "Version": outcome.version,
        "Failed task": failure.task_id,
        "Failed check": failure.check,
        "Expected": failure.expected,
        "Got": failure.got,
        "Reason": "" if failure.check else failure.message,
        "Serving now": outcome.serving_now,
        "Roll back": outcome.roll_back.value,
        "Roll back failed with": roll_back_failure.message if roll_back_failure else "",
        "Endpoint": outcome.endpoint,
        **_links(outcome),
    }


def _quiet_lines(outcome: Outcome) -> dict[str, str]:
    """Return what is worth knowing when nothing is broken."""
    return {
        "Model": outcome.model,
        "Version": outcome.version,
        "Reason": outcome.line,
        "Serving now": outcome.serving_now,
        **_links(outcome),
    }


def _links(outcome: Outcome) -> dict[str, str]:
    return {name[:1].upper() + name[1:]: url for name, url in outcome.links.items()}
