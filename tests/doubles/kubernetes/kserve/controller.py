"""The controller of InferenceServices: notices a change after a while, then reconciles in the service's mode."""

from __future__ import annotations

import json
import time

from tests.doubles.kubernetes.events import record
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.kubernetes.kserve.knative import KnativeMode
from tests.doubles.kubernetes.kserve.model_status import invalid
from tests.doubles.kubernetes.kserve.settings import KNATIVE, LEGACY_MODES, STANDARD
from tests.doubles.kubernetes.kserve.standard import StandardMode
from tests.doubles.kubernetes.kserve.templates import InvalidSpec, ReconcileError
from tests.doubles.kubernetes.kserve.webhook import MODE
from tests.doubles.kubernetes.kserve.world import World, condition, settled
from tests.doubles.kubernetes.resources import DEPLOYMENTS
from tests.doubles.kubernetes.store import Object

_FINALIZER = "inferenceservice.finalizers"
_STOP = "serving.kserve.io/stop"


class KServeController:
    """Keeps the status of every InferenceService as true as KServe does, which is not always."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._modes: dict[str, KnativeMode | StandardMode] = {
            KNATIVE: KnativeMode(world),
            STANDARD: StandardMode(world),
        }
        self._noticed: dict[str, tuple[str, float]] = {}

    def reconcile(self) -> None:
        present = self._world.store.entries(SERVICES)
        for service in present:
            if self._has_noticed(service):
                self._reconcile(service)

    def _has_noticed(self, service: Object) -> bool:
        """Return whether the controller knows what the service says now; until then its status stays what it was."""
        metadata = service["metadata"]
        said = [service["spec"], metadata.get("labels"), metadata.get("annotations"), metadata.get("deletionTimestamp")]
        digest = json.dumps(said, sort_keys=True)
        known, due = self._noticed.get(metadata["uid"], ("", 0.0))
        if known != digest:
            due = time.monotonic() + self._world.lags.reconcile_seconds / self._world.clock.speed
            self._noticed[metadata["uid"]] = (digest, due)
        return time.monotonic() >= due

    def _reconcile(self, service: Object) -> None:
        metadata = service["metadata"]
        mode = self._mode(service)
        if metadata.get("deletionTimestamp"):
            self._release(service, mode)
            return
        if _FINALIZER not in (metadata.get("finalizers") or []):
            self._world.store.change(SERVICES, metadata["namespace"], metadata["name"], _hold)
            return
        if mode == KNATIVE and not self._world.settings.knative:
            message = "It is not possible to use Knative deployment mode when Knative Services are not available"
            self._warn(service, "ServerlessModeRejected", message)
            return
        if self._is_refused_at_first(service):
            why = "update rejected: deploymentMode cannot be changed from 'Serverless' to 'Knative'"
            self._warn(service, "InternalError", f"fails to update InferenceService status: {why}")
            return
        self._write(service, self._next_status(service, mode))

    def _next_status(self, service: Object, mode: str) -> Object:
        before = service.get("status", {})
        if (service["metadata"].get("annotations") or {}).get(_STOP) == "true":
            return self._stop(service)
        try:
            status = self._modes[mode].reconcile(service)
        except InvalidSpec as problem:
            self._warn(service, "InternalError", f"fails to reconcile predictor: {problem}")
            unknown = [condition(kind, "Unknown") for kind in ("IngressReady", "PredictorReady", "Ready")]
            return {
                **before,
                "conditions": before.get("conditions") or unknown,
                "deploymentMode": before.get("deploymentMode") or self._world.settings.name_of(mode),
                "modelStatus": invalid(before.get("modelStatus", {}), problem),
            }
        except ReconcileError as problem:
            self._warn(service, "InternalError", f"fails to reconcile predictor: {problem}")
            return before
        was_ready, now_ready = _is_ready(before), _is_ready(status)
        name = service["metadata"]["name"]
        if now_ready and not was_ready:
            record(
                self._world.store,
                service,
                "InferenceServiceReady",
                f"InferenceService [{name}] is Ready",
                source="v1beta1Controllers",
            )
        elif was_ready and not now_ready:
            self._warn(service, "InferenceServiceNotReady", f"InferenceService [{name}] is no longer Ready")
        return status

    def _mode(self, service: Object) -> str:
        settings = self._world.settings
        fixed = service.get("status", {}).get("deploymentMode")
        asked = (service["metadata"].get("annotations") or {}).get(MODE, "")
        # A name that the version does not know is as good as none.
        for name in (fixed, asked, settings.default_mode):
            if name and (mode := settings.mode_named(name)):
                return mode
        return KNATIVE

    def _is_refused_at_first(self, service: Object) -> bool:
        """0.19.0 takes the default of the config map, by its old name, and then refuses the new name beside it."""
        settings = self._world.settings
        asked = (service["metadata"].get("annotations") or {}).get(MODE)
        fresh = not service.get("status", {}).get("deploymentMode")
        return settings.version == "0.19.0" and fresh and asked == KNATIVE and settings.default_mode in LEGACY_MODES

    def _stop(self, service: Object) -> Object:
        self._remove_workloads(service)
        conditions = [
            condition("Stopped", "True", "Stopped", "Service is stopped"),
            condition("Ready", "False", "Stopped", "Service is stopped"),
        ]
        before = service.get("status", {})
        return {**before, "conditions": settled(conditions, before.get("conditions", []))}

    def _release(self, service: Object, mode: str) -> None:
        """Let a deleted service go. Where the webhook refuses the update (0.16, old mode names) it stays for ever."""
        metadata = service["metadata"]
        self._modes[mode].forget(service)
        self._world.store.change(SERVICES, metadata["namespace"], metadata["name"], _let_go)
        self._world.route(service, {})
        self._noticed.pop(metadata["uid"], None)

    def _remove_workloads(self, service: Object) -> None:
        metadata = service["metadata"]
        for entry in self._world.store.entries(DEPLOYMENTS, metadata["namespace"]):
            owners = entry["metadata"].get("ownerReferences") or []
            if any(owner["uid"] == metadata["uid"] for owner in owners):
                self._world.remove_deployment(metadata["namespace"], entry["metadata"]["name"])
        self._world.route(service, {})

    def _write(self, service: Object, status: Object) -> None:
        metadata = service["metadata"]

        def put(present: Object) -> None:
            if present["metadata"]["uid"] == metadata["uid"]:
                present["status"] = status

        if status != service.get("status", {}):
            self._world.store.change(SERVICES, metadata["namespace"], metadata["name"], put, subresource="status")

    def _warn(self, service: Object, reason: str, message: str) -> None:
        record(self._world.store, service, reason, message, kind="Warning", source="v1beta1Controllers")


def _hold(service: Object) -> None:
    service["metadata"]["finalizers"] = [*(service["metadata"].get("finalizers") or []), _FINALIZER]


def _let_go(service: Object) -> None:
    kept = [name for name in service["metadata"].get("finalizers") or [] if name != _FINALIZER]
    service["metadata"]["finalizers"] = kept


def _is_ready(status: Object) -> bool:
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions", []))
