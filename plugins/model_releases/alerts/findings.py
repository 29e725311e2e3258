"""What the watch finds out about a model, and what it remembers from one look to the next."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow.sdk import Variable

from model_releases.alerts.alert import Alert, Severity
from model_releases.alerts.conditions import Condition, Ongoing, lasting, said
from model_releases.alerts.text import body
from model_releases.versions import version_time

#: Beginning of the Variables' names; the model's name follows. Renaming it tells once more what goes on.
WATCH_VARIABLE = "release_watch."

DISAGREEMENT, UNREACHABLE = "disagreement", "unreachable"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is remembered of a model.

    :param live: the version that served when both systems were last asked; empty when none did.
    :param ongoing: name of the condition -> since when it goes on.
    """

    live: str = ""
    ongoing: Mapping[str, Ongoing] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as the Variable holds it."""
        return json.dumps({"live": self.live, "ongoing": {name: one.to_json() for name, one in self.ongoing.items()}})

    @classmethod
    def from_json(cls, text: str | None) -> Watched:
        """Read what :meth:`to_json` wrote; nothing is remembered when it cannot be read."""
        if text is None:
            return cls()
        try:
            document = json.loads(text)
            ongoing = {name: Ongoing.from_json(one) for name, one in document["ongoing"].items()}
            return cls(live=document["live"], ongoing=ongoing)
        except (ValueError, KeyError, TypeError, AttributeError):
            log.error("What was remembered of a model cannot be read: a Variable %s* was changed.", WATCH_VARIABLE)
            return cls()


def recall(model: str) -> Watched:
    """Return what is remembered of a model."""
    return Watched.from_json(Variable.get(f"{WATCH_VARIABLE}{model}", default=None))


def remember(model: str, watched: Watched) -> None:
    """Remember it for the next look."""
    Variable.set(f"{WATCH_VARIABLE}{model}", watched.to_json(), f"What watch_releases remembers of {model}.")


def disagreement(model: str, *, recorded: str, serving: str) -> Condition | None:
    """Return that the registry holds another version to be live than the one that answers.

    :param recorded: version in the registry; empty for none.
    :param serving: version in the serving system; empty for none.
    """
    if recorded == serving:
        return None
    return Condition(
        name=DISAGREEMENT,
        severity=Severity.LOUD,
        title=f"registry and serving disagree on {model}",
        over=f"registry and serving agree on {model} again",
        lines={
            "Registry": recorded or "nothing is live",
            "Serving": serving or "nothing answers",
            "What to do": "put back the right one with the DAG roll_back, or release anew",
        },
    )


def unreachable(model: str, reason: str) -> Condition:
    """Return that the registry or the serving system could not be asked."""
    return Condition(
        name=UNREACHABLE,
        severity=Severity.NORMAL,
        title=f"{model} cannot be watched",
        over=f"{model} can be watched again",
        lines={"Reason": reason},
    )


def too_old(
    model: str, version: str, *, max_age: timedelta, remind_after: timedelta, now: datetime, links: Mapping[str, str]
) -> Alert | None:
    """Return the alert that a live version was trained too long ago, ``None`` when it was not.

    Until its reminder is due, every call returns the same alert.
    """
    trained = version_time(version)
    if trained is None or (late := now - trained - max_age) < timedelta():
        return None
    number = late // remind_after
    return Alert(
        key=f"too old/{model}/{version}/{number}",
        severity=Severity.NORMAL,
        title=f"{model} is {lasting(now - trained)} old",
        body=body(
            {
                "Model": model,
                "Live version": version,
                "Trained": said(trained),
                "Limit": lasting(max_age),
                "What to do": "release it anew; look why the last releases were rejected or failed",
                **links,
            }
        ),
    )


def renewed(model: str, *, before: str, live: str, max_age: timedelta, now: datetime) -> Alert | None:
    """Return the alert that a model which was too old is so no more, ``None`` when nothing has changed."""
    old, new = version_time(before), version_time(live)
    if old is None or new is None or now - old < max_age or now - new >= max_age:
        return None
    return Alert(
        key=f"too old/{model}/{before}/over",
        severity=Severity.QUIET,
        title=f"{model} has been renewed",
        body=body({"Model": model, "Live version": live, "Before": before}),
    )
