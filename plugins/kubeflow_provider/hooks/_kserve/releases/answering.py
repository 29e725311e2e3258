"""Which version has answered, where the predictor is given: nobody else's server knows of versions.

A server may say it, in a header or in ``model_version`` of the Open Inference Protocol; what is no version of a release
there says nothing. Otherwise the pods tell that can have answered: all of them are of one version. While traffic is
split, nobody can tell who has answered at the address that users call, so each revision is asked by its own, as often
as its part of the traffic is.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.observation import REVISION_LABEL, find, parse_time
from kubeflow_provider.hooks._kserve.record import VERSION_LABEL, Record, given_protocol
from kubeflow_provider.services import Answer

Object = dict[str, Any]

_VERSION = re.compile(r"[0-9]{14}")
#: So long after it was told to end a pod may still be sent requests; later it only finishes them.
_LEAVES_SECONDS = 5.0
#: So long it may take until the pods of one version alone can answer; a route changes, old pods go.
_SETTLES_SECONDS = 20.0
_PAUSE_SECONDS = 0.5


def told_version(service: Object, answer: Answer) -> str | None:
    """Return the version that an answer names, ``None`` where it names none."""
    if given_protocol(service) is None:
        return _of_prediction(answer.body)
    body = answer.body if isinstance(answer.body, dict) else {}
    said = (answer.version, body.get("model_version"))
    return next((word for word in said if isinstance(word, str) and _VERSION.fullmatch(word)), None)


@dataclass(frozen=True, slots=True)
class _Answerers:
    """Whose pods can answer.

    :param routes: revisions that get requests; Knative mode.
    :param versions: of the pods; an empty one is nobody's of ours.
    """

    routes: frozenset[str]
    versions: frozenset[str]

    def version(self, before: _Answerers) -> str | None:
        """Return the one version that can have answered since an earlier look; ``None`` when it is not just one."""
        # What was asleep before has pods by now.
        is_certain = len(self.versions) == 1 and before.versions <= self.versions and before.routes == self.routes
        return next(iter(self.versions)) or None if is_certain else None


class Answering:
    """Asks versions, and says who has answered.

    :param api: of the cluster.
    :param doors: the way that predictions take.
    """

    def __init__(self, api: ClusterApi, doors: Doors) -> None:
        self._api = api
        self._doors = doors

    def predict(self, model: str, service: Object, body: bytes, *, timeout_seconds: float, tag: str = "") -> Answer:
        """Ask a service as :meth:`Doors.predict` does; of a given predictor, the answer says which version it is of."""
        if given_protocol(service) is None:
            return self._doors.predict(model, service, body, timeout_seconds=timeout_seconds, tag=tag)
        deadline = time.monotonic() + _SETTLES_SECONDS
        while True:
            before = self._answerers(service, tag)
            answer = self._doors.predict(model, service, body, timeout_seconds=timeout_seconds, tag=tag)
            if told := told_version(service, answer):
                return replace(answer, version=told)
            if answer.status_code != 200:  # it is judged by its status
                return replace(answer, version=None)
            if not tag and (part := Record.of(service).percent):
                tag = "latest" if random.random() * 100 < part else "prev"  # noqa: S311  # no secret
                continue
            version = self._answerers(service, tag).version(before)
            if version or time.monotonic() > deadline:
                return replace(answer, version=version)
            time.sleep(_PAUSE_SECONDS)
            service = self._api.get_service(service["metadata"]["name"]) or service

    def _answerers(self, service: Object, tag: str) -> _Answerers:
        name = service["metadata"]["name"]
        service = self._api.get_service(name) or service
        pods = [pod for pod in self._api.pods(name) if _may_answer(pod)]
        if mode_of(service) is not Mode.KNATIVE:
            return _Answerers(frozenset(), _versions(pods))
        part = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
        routes = {
            str(item.get("revisionName"))
            for item in part.get("traffic") or []
            if (item.get("tag") == tag if tag else item.get("percent"))
        }
        if find((service.get("status") or {}).get("conditions"), "PredictorRouteReady").get("status") != "True":
            routes.add("")  # the routers are still being told
        own = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) in routes]
        return _Answerers(frozenset(routes), _versions(own) | ({""} if "" in routes else set()))


def _may_answer(pod: Object) -> bool:
    metadata = pod["metadata"]
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return False
    if (gone_at := parse_time(metadata.get("deletionTimestamp"))) is None:
        return True
    told_at = gone_at - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return (datetime.now(UTC) - told_at).total_seconds() < _LEAVES_SECONDS


def _versions(pods: Iterable[Object]) -> frozenset[str]:
    return frozenset((pod["metadata"].get("labels") or {}).get(VERSION_LABEL, "") for pod in pods)


def _of_prediction(body: Any) -> str | None:
    """Return what the servers of our archives say with each prediction."""
    try:
        return str(body["predictions"][0]["version"])
    except (KeyError, IndexError, TypeError):
        return None
