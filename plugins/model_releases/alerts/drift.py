"""What a comparison of captured requests gives reason to tell."""

from __future__ import annotations

from collections.abc import Sequence

from include.contracts.monitoring.drift import Agreement, DriftDocument
from model_releases.alerts.alert import Severity
from model_releases.alerts.conditions import Condition

DRIFT, WRONG_TOO_OFTEN, MEASURED_OTHERWISE = "drift", "wrong too often", "measured otherwise"

#: Features that an alert names.
_MOST_NAMED = 5


def conditions(found: DriftDocument, *, report_url: str) -> tuple[Sequence[Condition], Sequence[str]]:
    """Return what goes on, and what could not be looked for.

    Names of columns and labels may be a user's words: they stand in lines that make no link or mention of them.

    :param report_url: page of the report.
    """
    on: list[Condition] = []
    unknown = [] if found.is_enough else [DRIFT]
    if found.drifted:
        on.append(_drift(found, report_url))
    live = found.of_live()
    if live is None:
        unknown.append(WRONG_TOO_OFTEN)
    elif found.is_below_gate:
        on.append(
            Condition(
                name=WRONG_TOO_OFTEN,
                severity=Severity.NORMAL,
                title=f"{found.model} is wrong more often than its gate allows",
                over=f"{found.model} is not wrong more often than its gate allows any more",
                lines={
                    "Live version": found.version,
                    "Accuracy": f"{live.right / live.rows:.4f} of {live.rows:,} rows whose labels have arrived, "
                    f"interval {live.low:.4f} to {live.high:.4f}",
                    "Gate": f"at least {found.least_accuracy:.4f}",
                    "What to do": "look at the slices in the report; release the model anew with the labelled rows",
                    "Report": report_url,
                },
            )
        )
    if found.agreement is not None:
        if found.agreement.is_lower or found.agreement.is_contrary:
            on.append(_measured_otherwise(found, found.agreement, report_url))
        elif not found.agreement.versions:
            unknown.append(MEASURED_OTHERWISE)
    return on, unknown


def _measured_otherwise(found: DriftDocument, agreement: Agreement, report_url: str) -> Condition:
    ours = next((each for each in agreement.versions if each.version == found.version), None)
    lines = {"Live version": found.version}
    if ours:
        lines["Accuracy"] = (
            f"{ours.measured:.4f} of {ours.measured_rows:,} evaluation rows before the release, {ours.online:.4f} of "
            f"{ours.rows:,} rows whose labels have arrived; difference {ours.low:+.4f} to {ours.high:+.4f}"
        )
    if agreement.is_contrary:
        lines["Correlation"] = (
            f"{agreement.correlation:+.2f} over {len(agreement.versions)} versions, interval {agreement.low:+.2f} to "
            f"{agreement.high:+.2f}: what was measured as better is worse for users"
        )
    return Condition(
        name=MEASURED_OTHERWISE,
        severity=Severity.NORMAL,
        title=f"{found.model}: users get something else than was measured",
        over=f"{found.model}: users get what was measured again",
        lines=lines
        | {
            "What to do": "evaluate on rows like those of users; look whether labels arrive for some rows only",
            "Report": report_url,
        },
    )


def _drift(found: DriftDocument, report_url: str) -> Condition:
    more = len(found.drifted) - _MOST_NAMED
    lines = [
        f"{each.name[:60]} (distance {each.distance:.2f}): {each.reference[:120]} before, {each.requests[:120]} now"
        for each in found.drifted[:_MOST_NAMED]
    ]
    return Condition(
        name=DRIFT,
        severity=Severity.NORMAL,
        title=f"{found.model}: users send something else",
        over=f"{found.model}: what users send has not drifted any more",
        lines={
            "Live version": found.version,
            "Compared with": "the data set of the version" if found.reference == "training" else "its first requests",
            "Requests": f"{found.requests:,}, {found.first} to {found.last}",
            "Drift": "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]),
            "What to do": "look at the report; release the model anew with newer data, or raise what is tolerated",
            "Report": report_url,
        },
    )
