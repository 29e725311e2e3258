"""Applies, judges, asks and deletes InferenceServices of any kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks._kserve.canaries import check_canaries
from kubeflow_provider.hooks._kserve.cluster import KServeCluster
from kubeflow_provider.hooks._kserve.doors import Reply, is_route_missing, path_of
from kubeflow_provider.hooks._kserve.inspection import Inspector
from kubeflow_provider.hooks._kserve.marks import is_applied_by_us, managers
from kubeflow_provider.hooks._kserve.modes import ANNOTATION, Mode, mode_annotation, mode_of, read_mode
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.record import released_version
from kubeflow_provider.kubernetes.inference_service import InferenceService, marked, problems_in
from kubeflow_provider.services import Answer
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]
Protocol = Literal["v1", "v2"]

#: Of a gateway: no such route, no pod behind it. A request that it timed out may have reached one.
_REACHED_NOBODY = (404, 503)


class InferenceServices:
    """The InferenceServices of a connection's namespace, whatever they serve.

    :param cluster: that they are in.
    :param patience: with what may heal.
    """

    def __init__(self, cluster: KServeCluster, patience: Callable[[], Patience]) -> None:
        self._cluster = cluster
        self._patience = patience

    @property
    def namespace(self) -> str:
        """Where they are."""
        return self._cluster.settings.namespace

    def exists(self, name: str) -> bool:
        """Tell whether there is an InferenceService of this name, also one that is being deleted."""
        return self._cluster.api.get_service(name) is not None

    def get(self, name: str) -> InferenceService | None:
        """Return an InferenceService, judged by revisions, Deployments and pods; ``None`` when there is none.

        KServe's own ``Ready`` is about whatever answers, also while what was applied last does not come up.
        """
        service = self._cluster.api.get_service(name)
        if service is None:
            return None
        if service["metadata"].get("deletionTimestamp"):
            return self._told(service, DeploymentState.FAILED, "it is being deleted")
        verdict = self._inspector.verdict(service)
        return self._told(service, verdict.state, self._inspector.reason(verdict))

    def apply(
        self, service: Mapping[str, Any], *, deployment_mode: str = "detect", force: bool = False
    ) -> InferenceService:
        """Make an InferenceService, or change it to what is given. Safe to repeat.

        Fields that were applied before and are left out now go; those that others have set stay.

        :param service: as :func:`~kubeflow_provider.kubernetes.inference_service.inference_service` makes it.
        :param deployment_mode: ``knative``, ``standard``, or ``detect``: what the service is in, else the default.
        :param force: take it over from whoever has made it, and fields that others have set.
        :return: as it was taken; ask :meth:`get` whether it is READY.
        :raises InvalidRequestError: when it is somebody else's, or naming what this KServe cannot do or refuses.
        """
        name, api = service["metadata"]["name"], self._cluster.api
        present = api.get_service(name)
        if present is not None:
            _refuse_others(present, force=force)
            if present["metadata"].get("deletionTimestamp"):
                raise ServiceUnavailableError(f"InferenceService {name} is being deleted; apply it when it is gone.")
        applied = api.apply_service(marked(self._in_mode(service, present, deployment_mode)), force=force)
        return self._told(applied, DeploymentState.PENDING, None)

    def delete(self, name: str, *, force: bool = False) -> bool:
        """Delete an InferenceService. Harmless when there is none.

        :param force: also one that somebody else has made.
        :return: whether there was one; it may be there for a while (:meth:`exists`).
        :raises InvalidRequestError: when it is somebody else's.
        """
        present = self._cluster.api.get_service(name)
        if present is None:
            return False
        if not present["metadata"].get("deletionTimestamp"):
            _refuse_others(present, force=force)
            self._cluster.api.delete_service(name)
        return True

    def predict(
        self,
        name: str,
        body: bytes,
        *,
        protocol: Protocol | None = None,
        model: str | None = None,
        path: str | None = None,
        timeout_seconds: float = 30,
        max_answer_bytes: int = 1_000_000,
    ) -> Answer:
        """Send a request by the door of the connection. Repeats nothing; an HTTP error status is an answer.

        :param body: JSON, sent as it is.
        :param protocol: ``None``: that of the predictor.
        :param model: name in the path; ``None``: the InferenceService's.
        :param path: instead of the protocol's.
        :param max_answer_bytes: a longer answer is an error.
        :raises InvalidRequestError: when there is no such service, or the answer is too long.
        :raises PermissionDeniedError: when a gateway or a mesh did not let the request in.
        :raises ServiceUnavailableError: when there was no answer, or the gateway's own that it knows no such service.
        """
        service = self._cluster.service(name)
        if service is None:
            raise InvalidRequestError(f"There is no InferenceService {name} in namespace {self.namespace}.")
        where = path or path_of(model or name, service, protocol)
        reply = self._cluster.doors.ask(
            service, where, body, timeout_seconds=timeout_seconds, most_bytes=max_answer_bytes
        )
        if len(reply.content) > max_answer_bytes:
            raise InvalidRequestError(
                f"InferenceService {name} answered with more than {max_answer_bytes} bytes, which is all that is read. "
                "Ask for less at once, or raise `max_answer_bytes`."
            )
        answer = _read(reply)
        if is_route_missing(answer):
            raise ServiceUnavailableError(
                f"What leads to InferenceService {name} answered {answer.status_code}: it does not know the service "
                "yet, or nobody is there.",
                http_status=answer.status_code,
                was_sent=answer.status_code not in _REACHED_NOBODY,
            )
        return answer

    # The same, without blocking the event loop

    async def aexists(self, name: str) -> bool:
        """Like :meth:`exists`, without blocking the event loop."""
        return bool(await self._in_thread(self.exists, name))

    async def aget(self, name: str) -> InferenceService | None:
        """Like :meth:`get`, without blocking the event loop."""
        found: InferenceService | None = await self._in_thread(self.get, name)
        return found

    async def aapply(self, service: Mapping[str, Any], **options: Any) -> InferenceService:
        """Like :meth:`apply`, without blocking the event loop."""
        applied: InferenceService = await self._in_thread(self.apply, service, **options)
        return applied

    async def adelete(self, name: str, *, force: bool = False) -> bool:
        """Like :meth:`delete`, without blocking the event loop."""
        return bool(await self._in_thread(self.delete, name, force=force))

    async def apredict(self, name: str, body: bytes, **options: Any) -> Answer:
        """Like :meth:`predict`, without blocking the event loop."""
        answer: Answer = await self._in_thread(self.predict, name, body, **options)
        return answer

    # Parts

    @cached_property
    def _inspector(self) -> Inspector:
        return Inspector(self._cluster.api, self._patience())

    async def _in_thread(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        await self._cluster.look_up()
        return await asyncio.to_thread(ask, *arguments, **options)

    def _in_mode(self, service: Mapping[str, Any], present: Object | None, deployment_mode: str) -> Object:
        """Return a service with what gives it its mode, checked for that mode."""
        wanted = _Wanted.of(service, present, deployment_mode)
        capabilities = self._cluster.capabilities
        mode = wanted.mode or capabilities.default_mode
        check_canaries(service, capabilities, mode)
        _check_mode(service, mode)
        annotations = dict(service["metadata"].get("annotations") or {})
        if present is not None:
            # What stands there stays: KServe changes no mode, and some of its versions refuse to see another name.
            annotations |= mode_annotation(present)
        elif wanted.is_to_be_said:
            annotations |= capabilities.mode_annotations(wanted.mode)
        if service["spec"].get("canary"):
            annotations.setdefault(ANNOTATION, Mode.STANDARD.value)  # canaries need it said
        metadata = {**service["metadata"]} | ({"annotations": annotations} if annotations else {})
        return {**service, "metadata": metadata}

    def _told(self, service: Object, state: DeploymentState, reason: str | None) -> InferenceService:
        metadata, status = service["metadata"], service.get("status") or {}
        return InferenceService(
            name=metadata["name"],
            namespace=self.namespace,
            state=state,
            reason=reason,
            url=status.get("url") or (status.get("address") or {}).get("url"),
            generation=metadata.get("generation"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The mode that a service is to have; ``None`` for the cluster's default.

    :param is_to_be_said: whether nothing but an annotation of ours would tell KServe.
    """

    mode: Mode | None
    is_to_be_said: bool

    @classmethod
    def of(cls, service: Mapping[str, Any], present: Object | None, deployment_mode: str) -> _Wanted:
        """Find it out.

        :raises InvalidRequestError: when it contradicts what is there.
        """
        if deployment_mode not in ("detect", "knative", "standard"):
            raise InvalidRequestError(f"deployment_mode is {deployment_mode!r}: take detect, knative or standard.")
        named = read_mode((service["metadata"].get("annotations") or {}).get(ANNOTATION))
        asked = None if deployment_mode == "detect" else Mode(deployment_mode.capitalize())
        has, name = mode_of(present) if present else None, service["metadata"]["name"]
        if len(modes := {mode for mode in (named, asked, has) if mode}) > 1:
            raise InvalidRequestError(
                f"InferenceService {name} cannot be in {' and '.join(sorted(modes))} mode: KServe keeps a service in "
                "its mode for good. Leave `deployment_mode` out, or delete the service first."
            )
        return cls(mode=has or named or asked, is_to_be_said=named is None)


def _check_mode(service: Mapping[str, Any], mode: Mode | None) -> None:
    """Find out whether a mode takes a predictor: some of it KServe would refuse, and some ignore without a word.

    :raises InvalidRequestError: naming everything that it does not take.
    """
    if mode is None:
        return
    predictor = service["spec"]["predictor"]
    problems = problems_in(mode.setting, _Scaled(predictor))
    if mode is Mode.STANDARD and predictor.get("canaryTrafficPercent") not in (None, 100):
        problems.append("a part of the traffic (`canary_percent`) can be given in Knative mode only")
    if problems:
        name = service["metadata"]["name"]
        raise InvalidRequestError(f"InferenceService {name} is in {mode} mode: {'; '.join(problems)}.")


class _Scaled:
    """What of a predictor in KServe's own form depends on the mode."""

    def __init__(self, predictor: Mapping[str, Any]) -> None:
        autoscaler = (predictor.get("annotations") or {}).get("autoscaling.knative.dev/class")
        # Another autoscaler of Knative's has metrics of its own.
        self.scale_metric: str | None = None if autoscaler else predictor.get("scaleMetric")
        self.container_concurrency: int | None = predictor.get("containerConcurrency")
        self.min_replicas: int | None = predictor.get("minReplicas")


def _refuse_others(service: Object, *, force: bool) -> None:
    """Leave alone what this provider has not applied, unless that is wanted.

    :raises InvalidRequestError: naming whose it is.
    """
    if force:
        return
    owner = next((item for item in service["metadata"].get("ownerReferences") or [] if item.get("controller")), None)
    if version := released_version(service):
        whose = f"belongs to a release, which has put version {version} there"
    elif owner:
        whose = f"belongs to {owner['kind']} {owner['name']}, which would change it back"
    elif not is_applied_by_us(service):
        whose = f"was made by others ({', '.join(managers(service)) or 'unknown'})"
    else:
        return
    raise InvalidRequestError(
        f"InferenceService {service['metadata']['name']} {whose}, so it is left alone. Take another name, or "
        "`force=True` if it is to be this task's."
    )


def _read(reply: Reply) -> Answer:
    try:
        body = json.loads(reply.content)
    except ValueError:
        body = reply.content.decode(errors="replace")
    return Answer(status_code=reply.status, body=body, latency_ms=reply.latency_ms)
