"""Moves users from one version to another and back; at every moment something that works answers them.

Two traps of Knative mode shape the way back. Without ``canaryTrafficPercent`` all traffic goes to the latest revision
that is *ready*, so putting the earlier predictor back alone would first give everything to the version that is to go.
And the part of the traffic can only be taken from the newest revision, so that comes before the predictor changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from kubeflow_provider.exceptions import DeploymentFailedError, InvalidRequestError
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.record import Record, stamped
from kubeflow_provider.hooks._kserve.releases.snapshots import Snapshots
from kubeflow_provider.hooks._kserve.releases.specs import for_users, inference_service

Object = dict[str, Any]

log = logging.getLogger(__name__)

_PART = "canaryTrafficPercent"


class Traffic:
    """The public InferenceService of each model, which has the model's name.

    :param api: of the cluster.
    :param snapshots: the predictors of all versions.
    :param wait_until_ready: waits until what stands in the spec of a model's service answers, or raises.
    :param poll_seconds: pause between two looks at the cluster.
    :param send_back_seconds: longest wait for the controller to move traffic between revisions that are ready.
    """

    def __init__(
        self,
        api: ClusterApi,
        snapshots: Snapshots,
        *,
        wait_until_ready: Callable[[str], None],
        poll_seconds: float,
        send_back_seconds: float = 60,
    ) -> None:
        self._api = api
        self._snapshots = snapshots
        self._wait_until_ready = wait_until_ready
        self._poll_seconds = poll_seconds
        self._send_back_seconds = send_back_seconds

    def start(self, model: str, version: str, *, annotations: dict[str, str], mode: Mode | None) -> Object:
        """Make the service of a model's first release, which gets all of the traffic.

        Its own labels are set now and never again: KServe gives them to the pods, so each change of them would start
        the pods of a live model anew.

        :param annotations: what says the deployment mode.
        :param mode: that it will have; ``None`` where it is not known.
        """
        spec = stamped(for_users(self._predictor(model, version), mode), stable=None, previous=None, replaces=None)
        labels = self._snapshots.service_labels(model, version)
        return self._api.create_service(
            inference_service(model, self._api.namespace, spec, annotations=annotations, labels=labels)
        )

    def shift(self, model: str, version: str, percent: int) -> Object:
        """Give a version a part of the traffic, and what was live the rest; 100 makes it live.

        A version that is live stays so: a step that is repeated late takes nothing away from it.
        """
        part = None if percent == 100 else percent

        def edit(service: Object) -> None:
            record = Record.of(service)
            if record.version == version:
                if record.percent is not None:
                    _give_part(service, part)
                return
            if record.live == version:
                raise InvalidRequestError(
                    f"{model} {version} is live, and {record.version} has a part of the traffic. Roll that one back."
                )
            service["spec"]["predictor"] = stamped(
                for_users(self._predictor(model, version), mode_of(service)),
                stable=record.live,
                previous=record.live,
                replaces=_newest_revision(service),
                percent=part,
            )

        return self._api.change_service(model, edit)

    def take_back(self, model: str, service: Object, *, candidate: str, previous: str | None) -> bool:
        """Undo what a version has of the traffic, from whatever point its release reached.

        The earlier version may still be on its way up afterwards; in Knative mode it has users then already.

        :param service: the model's.
        :param previous: who was live before; where it is ``None``, the service knows.
        :return: whether the service is still there: a first release leaves none.
        :raises DeploymentFailedError: when the earlier version does not come up again.
        """
        record = Record.of(service)
        if record.version != candidate:
            if record.percent is not None and record.stable == record.version:
                self._finish(model)  # an earlier roll back was broken off here
            elif record.live != previous:
                log.warning("%s %s is live by now and stays; only %s is removed.", model, record.live, candidate)
            return True
        is_part = record.percent is not None and record.stable != candidate
        target = record.stable if is_part else previous or record.previous
        if target is None:
            return False
        self._put_back(model, service, target)
        return True

    def _put_back(self, model: str, service: Object, target: str) -> None:
        is_knative, record = mode_of(service) is Mode.KNATIVE, Record.of(service)
        if is_knative and (record.percent is not None or record.previous == target):
            self._send_back(model)
        predictor = for_users(self._predictor(model, target), mode_of(service))

        def edit(service: Object) -> None:
            service["spec"]["predictor"] = stamped(
                predictor,
                stable=target,
                previous=None,
                replaces=_newest_revision(service),
                percent=0 if is_knative else None,
            )

        self._api.change_service(model, edit)
        if is_knative:
            self._finish(model)

    def _send_back(self, model: str) -> None:
        """Give all traffic to the revision before the newest, which is still there.

        It comes first, so that users are helped at once, whatever becomes of the rest.
        """
        self._api.change_service(model, lambda service: _give_part(service, 0))
        deadline = time.monotonic() + self._send_back_seconds
        while time.monotonic() < deadline:
            service = self._api.get_service(model)
            if service is None or _has_earlier_traffic(service):
                return
            time.sleep(self._poll_seconds)
        log.warning("%s: the revision before does not take the traffic; waiting for a new one of it.", model)

    def _finish(self, model: str) -> None:
        """Give everything to the version that was put back, as soon as it is ready."""
        self._wait_until_ready(model)
        self._api.change_service(model, lambda service: _give_part(service, None))

    def _predictor(self, model: str, version: str) -> Object:
        predictor = self._snapshots.get(model, version)
        if predictor is None:
            raise DeploymentFailedError(
                f"{model} {version} cannot be served: how is not kept any more (ControllerRevision {model}-{version} "
                f"in namespace {self._api.namespace}). Deploy it as a candidate again; what was live still is."
            )
        return predictor


def shares(service: Object) -> dict[str, int]:
    """Return version -> percent of the traffic of a model's service, the live version first.

    In Knative mode the status says what the router does, which follows a change of the spec only when the new
    revision is ready. Standard mode splits nothing.
    """
    record = Record.of(service)
    routes = _component(service).get("traffic") or []
    other = record.stable or record.previous
    if mode_of(service) is not Mode.KNATIVE or not routes or other in (None, record.version):
        return {record.live: 100}
    newest = _newest_revision(service)
    # Until the version's own revision is made, the newest one is that of the version before it.
    part = sum(int(route.get("percent") or 0) for route in routes if route.get("revisionName") == newest)
    part = 0 if newest == record.replaces else part
    found = {other: 100 - part, record.version: part}
    if record.live == record.version:
        found = dict(reversed(found.items()))
    return {version: percent for version, percent in found.items() if percent}


def _give_part(service: Object, percent: int | None) -> None:
    predictor = service["spec"]["predictor"]
    predictor.pop(_PART, None)
    if percent is not None:
        predictor[_PART] = percent


def _component(service: Object) -> Object:
    return ((service.get("status") or {}).get("components") or {}).get("predictor") or {}


def _newest_revision(service: Object) -> str | None:
    return _component(service).get("latestCreatedRevision")


def _has_earlier_traffic(service: Object) -> bool:
    """Tell whether another revision than the newest has everything."""
    newest = _newest_revision(service)
    items = _component(service).get("traffic") or []
    return any(item.get("revisionName") != newest and item.get("percent") == 100 for item in items)
