"""Serves models with KServe: a candidate beside the live version, traffic in steps, and a way back from everywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from airflow.sdk import BaseHook, Connection

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    KubeflowProviderError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.cluster import KServeCluster
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.inference_services import InferenceServices
from kubeflow_provider.hooks._kserve.modes import Mode, mode_annotation, mode_of
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.record import Record, check_archive
from kubeflow_provider.hooks._kserve.releases import specs
from kubeflow_provider.hooks._kserve.releases.answering import Answering
from kubeflow_provider.hooks._kserve.releases.deployments import VersionInspector, reachable
from kubeflow_provider.hooks._kserve.releases.plans import Plan
from kubeflow_provider.hooks._kserve.releases.runtimes import refuse_without_runtime
from kubeflow_provider.hooks._kserve.releases.snapshots import Snapshots
from kubeflow_provider.hooks._kserve.releases.traffic import Traffic, shares
from kubeflow_provider.hooks._kserve.settings import KServeSettings
from kubeflow_provider.kubernetes.given_predictor import GivenPredictor
from kubeflow_provider.services import Answer, Deployment, ModelVersion
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]


class KServeHook(BaseHook):
    """Serves versions of models with KServe; a :class:`~kubeflow_provider.services.ServingService`.

    A model is an InferenceService of its name. A candidate is one of its own, ``<model>-candidate``, so that nothing
    it does can touch the live one; it is the same in every version and mode of KServe. Promoting brings its predictor
    into the model's service: in steps in Knative mode, as a rolling update in Standard mode. What was live before is
    kept as it was served, and in Knative mode as a revision that takes the traffic back at once.

    :param kserve_conn_id: connection of type ``kserve``.
    :param connection: the connection itself, where it has been looked up already.
    """

    conn_name_attr = "kserve_conn_id"
    default_conn_name = "kserve_default"
    conn_type = "kserve"
    hook_name = "KServe"

    works_in_background: ClassVar[bool] = True
    #: With what may heal; the wait for a node stands in the connection.
    patience: ClassVar[Patience] = Patience()
    #: Longest wait for a version that is put back.
    put_back_seconds: ClassVar[float] = 900
    #: Longest wait for KServe to take an InferenceService away.
    delete_seconds: ClassVar[float] = 120
    poll_seconds: ClassVar[float] = 1.0

    def __init__(self, kserve_conn_id: str = default_conn_name, *, connection: Connection | None = None) -> None:
        super().__init__()
        self.kserve_conn_id = kserve_conn_id
        self._cluster = KServeCluster(kserve_conn_id, connection)

    @property
    def access(self) -> Access:
        """What this process knows of the credentials for Kubernetes."""
        return self._settings.kubernetes_access

    @property
    def namespace(self) -> str:
        """Where the InferenceServices are."""
        return self._settings.namespace

    @cached_property
    def inference_services(self) -> InferenceServices:
        """InferenceServices of any kind; they know of releases only that they leave theirs alone."""
        return InferenceServices(self._cluster, lambda: self._patience)

    # Questions

    def get_deployment(self, model: str, version: str) -> Deployment | None:
        """Return the version's state, judged by its pods and a prediction; ``None`` when it is not deployed."""
        public = self._service(model)
        record = Record.of(public) if public else None
        if public and record and version == record.version:
            return self._inspector.deployment(model, public, is_live=record.live == version)
        if record and version == record.live:
            return reachable(model, version, DeploymentState.READY, is_live=True, service=public)
        candidate = self._candidate(model, version)
        return self._inspector.deployment(model, candidate, is_live=False) if candidate else None

    async def aget_deployment(self, model: str, version: str) -> Deployment | None:
        """Like :meth:`get_deployment`, without blocking the event loop."""
        await self._cluster.look_up()
        return await asyncio.to_thread(self.get_deployment, model, version)

    def get_live(self, model: str) -> Deployment | None:
        """Return the version that users reach, or will as soon as it is ready; ``None`` before the first release."""
        public = self._service(model)
        if public is None:
            return None
        record = Record.of(public)
        if record.live != record.version:
            return reachable(model, record.live, DeploymentState.READY, is_live=True, service=public)
        verdict = self._inspector.verdict(public)
        return reachable(model, record.live, verdict.state, is_live=True, service=public, reason=verdict.reason)

    def get_previous(self, model: str) -> str | None:
        """Return the version that was live before the present one, while its predictor is kept."""
        public = self._service(model)
        previous = Record.of(public).previous if public else None
        return previous if previous and self._snapshots.get(model, previous) is not None else None

    def can_split_traffic(self, model: str) -> bool:
        """Return whether the model's service is in Knative mode. Standard mode would ignore a part without a word."""
        public = self._service(model)
        return public is not None and mode_of(public) is Mode.KNATIVE

    def get_traffic(self, model: str) -> Mapping[str, int]:
        """Return version -> percent as the cluster's router has it now, the live version first."""
        public = self._service(model)
        return shares(public) if public else {}

    # Predictions

    def endpoint_url(self, model: str) -> str:
        """Return the address that users call, as far as it is known before the first release."""
        return self._doors.public_url(model, self._service(model))

    def predict(self, model: str, body: bytes, *, version: str | None = None, timeout_seconds: float = 30) -> Answer:
        """Send a raw request body to a version, or through the address that users call.

        It is sent once; where the predictor is given, again until it is certain who has answered.

        :raises PermissionDeniedError: when a gateway or a mesh did not let the request in.
        :raises ServiceUnavailableError: when there was no answer at all.
        """
        service, tag = self._whom_to_ask(model, version)
        return self._answering.predict(model, service, body, timeout_seconds=timeout_seconds, tag=tag)

    # Changes

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version could be deployed: names, settings, storage, mode and runtime.

        What can be seen by the settings alone is seen here; for the rest KServe's own webhooks are asked, without
        making anything. They refuse what the mode of the cluster does not take, also where nobody may read that mode.

        :raises InvalidRequestError: naming what stands in its way.
        """
        public = self._service(candidate.model)
        if public:
            Record.of(public)  # it must be one of ours
        for service in self._plan(candidate, public).trials(self._settings.namespace):
            self._api.try_service(service)
        refuse_without_runtime(self._api, candidate.settings)
        given = GivenPredictor.of(candidate.settings)
        if given and given.container and not given.container.is_pinned:
            self.log.warning(
                "The image of %s's container has no digest (`…@sha256:…`): should its tag move, a version that is put "
                "back, or a new pod of the live one, is another program than the one that was judged.",
                candidate.model,
            )

    def deploy_candidate(self, candidate: ModelVersion) -> Deployment:
        """Make an InferenceService of its own for the version; the model's own is not touched.

        Where the same candidate is there already and not hopeless, nothing happens; another one makes room.

        :raises InvalidRequestError: naming what is wrong with name, settings or storage, or what KServe refuses.
        """
        model, version = candidate.model, candidate.version
        public = self._service(model)
        if public and Record.of(public).version == version:
            check_archive(public, candidate)
            return self._expect_deployment(model, version)
        plan = self._plan(candidate, public)
        if public:
            self._snapshots.keep(model, public)
        if self._snapshots.get(model, version) == plan.predictor and self._candidate(model, version):
            present = self._expect_deployment(model, version)
            if present.state is not DeploymentState.FAILED:
                return present
        # A version that is put back brings along what it was released with.
        labels = candidate.service_labels or self._snapshots.service_labels(model, version)
        self._snapshots.put(model, version, plan.predictor, service_labels=labels)
        self._delete(specs.candidate_name(model))
        made = self._api.create_service(plan.candidate_service(self._settings.namespace))
        return reachable(model, version, DeploymentState.PENDING, is_live=False, service=made)

    def shift_traffic(self, model: str, version: str, percent: int) -> Deployment:
        """Give the version this share of the traffic, and the live one the rest. Safe to repeat.

        The candidate of its own goes as soon as the version has everything: its place is wanted by new pods.

        :raises InvalidRequestError: for a share below 100 in Standard mode, or before anything is live.
        :raises DeploymentFailedError: when the version is not READY; what was live still is.
        """
        if not 0 <= percent <= 100:
            raise InvalidRequestError(f"{percent} % of the traffic is no share: give a whole number from 0 to 100.")
        public = self._service(model)
        if percent < 100 and not (public and mode_of(public) is Mode.KNATIVE):
            raise InvalidRequestError(
                f"{model} {version} cannot get {percent} % of the traffic: only a service in Knative mode that is live "
                "already can be split. Promote the version."
            )
        if public is None or Record.of(public).version != version:
            self._check_ready(model, version)
        if public is None:
            annotations, mode = self._mode_of_candidate(model)
            self._traffic.start(model, version, annotations=annotations, mode=mode)
        else:
            self._traffic.shift(model, version, percent)
        if percent == 100:
            self._delete(specs.candidate_name(model), wait=False)
        return self._expect_deployment(model, version)

    def promote(self, model: str, version: str) -> Deployment:
        """Give the version all of the traffic. Until it is READY, the one before it answers. Safe to repeat.

        :raises DeploymentFailedError: when the version is not READY; what was live still is.
        """
        return self.shift_traffic(model, version, 100)

    def roll_back(self, model: str, *, candidate: str, previous: str | None) -> Deployment | None:
        """Undo a release from whatever point it reached, and wait until what was live answers. Safe to repeat.

        In the middle of the steps, and after promoting in Knative mode, users are back on the earlier revision at
        once; in Standard mode when new pods of the earlier version are ready.

        :return: what is live now, ``None`` when nothing was live before.
        :raises DeploymentFailedError: when the previous version does not come up again.
        """
        if previous == candidate:
            raise InvalidRequestError(f"{model} {candidate} cannot be rolled back to itself.")
        public = self._service(model)
        is_left = public is not None
        if public is not None:
            is_left = self._traffic.take_back(model, public, candidate=candidate, previous=previous)
            if not is_left:
                self._delete(model)
        elif previous is not None and self._snapshots.get(model, previous):
            self.log.warning("%s: its InferenceService is gone; making it again with %s.", model, previous)
            self._traffic.start(model, previous, annotations={}, mode=None)
            is_left = True
        self._forget(model, candidate)
        if is_left:
            self._wait_until_ready(model)
        return self.get_live(model)

    def remove(self, model: str, version: str) -> None:
        """Forget a version that users do not reach, with its candidate. Harmless when it is not there.

        :raises InvalidRequestError: when it is live or has a part of the traffic.
        """
        public = self._service(model)
        if public and version in (Record.of(public).version, Record.of(public).live):
            raise InvalidRequestError(f"{model} {version} is live; promote another version before removing it.")
        self._forget(model, version)

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button: what can be reached, and what KServe it is."""
        try:
            return True, self._cluster.describe()
        except KubeflowProviderError as error:
            return False, str(error)

    # Parts

    @property
    def _settings(self) -> KServeSettings:
        return self._cluster.settings

    @property
    def _api(self) -> ClusterApi:
        return self._cluster.api

    @property
    def _doors(self) -> Doors:
        return self._cluster.doors

    @property
    def _answering(self) -> Answering:
        return Answering(self._api, self._doors)

    @cached_property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self._api)

    @cached_property
    def _traffic(self) -> Traffic:
        return Traffic(
            self._api, self._snapshots, wait_until_ready=self._wait_until_ready, poll_seconds=self.poll_seconds
        )

    @cached_property
    def _inspector(self) -> VersionInspector:
        return VersionInspector(self._api, self._doors, self._patience)

    @property
    def _patience(self) -> Patience:
        return replace(self.patience, unschedulable_seconds=self._settings.unschedulable_seconds)

    def _service(self, name: str) -> Object | None:
        """Return an InferenceService that is not going away."""
        return self._cluster.service(name)

    def _candidate(self, model: str, version: str) -> Object | None:
        candidate = self._service(specs.candidate_name(model))
        return candidate if candidate and Record.of(candidate).version == version else None

    def _plan(self, candidate: ModelVersion, public: Object | None) -> Plan:
        return Plan.of(candidate, public, self._cluster.capabilities)

    def _mode_of_candidate(self, model: str) -> tuple[dict[str, str], Mode | None]:
        """The first release is served as its candidate was; a mode that was not asked for is not asked for now."""
        candidate = self._service(specs.candidate_name(model))
        return (mode_annotation(candidate), mode_of(candidate)) if candidate else ({}, None)

    def _whom_to_ask(self, model: str, version: str | None) -> tuple[Object, str]:
        """Return the service to ask, and the tag of a revision in it."""
        public = self._service(model)
        record = Record.of(public) if public else None
        if public and record and (version is None or (record.percent is None and version == record.version)):
            return public, ""
        if version is not None and (candidate := self._candidate(model, version)):
            return candidate, ""
        if public and record and version in (record.version, record.live):
            return public, "latest" if version == record.version else "prev"
        raise ServiceUnavailableError(
            f"{model} {version or 'is not live: no version of it'} is not deployed in {self._settings.namespace}.",
            was_sent=False,
        )

    def _expect_deployment(self, model: str, version: str) -> Deployment:
        found = self.get_deployment(model, version)
        if found is None:
            raise DeploymentFailedError(f"{model} {version} was taken away by somebody else a moment ago.")
        return found

    def _check_ready(self, model: str, version: str) -> None:
        found = self.get_deployment(model, version)
        if found is None or found.state is not DeploymentState.READY:
            state = found.state.value if found else "not deployed"
            reason = f": {found.reason}" if found and found.reason else ""
            raise DeploymentFailedError(
                f"{model} {version} cannot be promoted: it is {state}{reason}. What was live still is."
            )

    def _wait_until_ready(self, model: str) -> None:
        """Wait until what stands in the spec of a model's service is ready.

        :raises DeploymentFailedError: when it is hopeless, or takes too long.
        """
        deadline = time.monotonic() + self.put_back_seconds
        while True:
            public = self._service(model)
            if public is None:
                raise DeploymentFailedError(f"InferenceService {model} was deleted while it was being put back.")
            found = self._inspector.deployment(model, public, is_live=True)
            if found.state is DeploymentState.READY:
                return
            if found.state is DeploymentState.FAILED or time.monotonic() > deadline:
                if self._inspector.answers(model, public):
                    words = "%s %s answers, though not all of it is there: %s"
                    self.log.warning(words, model, found.version, found.reason)
                    return
                raise DeploymentFailedError(f"{model} {found.version} does not come up again: {found.reason}")
            self.log.info("%s %s is not back yet: %s", model, found.version, found.reason)
            time.sleep(self.poll_seconds)

    def _delete(self, name: str, *, wait: bool = True) -> None:
        """Delete an InferenceService, and wait until its name is free."""
        self._api.delete_service(name)
        deadline = time.monotonic() + self.delete_seconds
        while wait and self._api.get_service(name) is not None:
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"InferenceService {name} is still there {self.delete_seconds:.0f} s after it was deleted. Look "
                    "for a finalizer of it, and whether KServe's controller runs."
                )
            time.sleep(self.poll_seconds)

    def _forget(self, model: str, version: str) -> None:
        if self._candidate(model, version):
            self._delete(specs.candidate_name(model), wait=False)
        self._snapshots.delete(model, version)
