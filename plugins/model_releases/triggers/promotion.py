"""Gives a version the traffic, all at once or in steps that are watched; in a triggerer or a task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from include.contracts.monitoring.shadow_settings import BesideLive
from include.contracts.rollout import RolloutConfig
from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.hooks import aget_serving_service
from kubeflow_provider.outages import Outage, patiently
from kubeflow_provider.services import Answer, Deployment, ServingService
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import PollingTrigger
from kubeflow_provider.triggers.blocking_work import BlockingWork
from model_releases.exceptions import CheckFailedError
from model_releases.kinds import Kind, kind_of
from model_releases.memory.captured_requests import newest_bodies
from model_releases.memory.evidence import read_judged
from model_releases.rules.beside_live import SideBySide
from model_releases.rules.rollout import Questions, Watch

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
#: So often a step is watched that is disturbed each time; then it is judged by what was seen.
MOST_WATCHES = 3


class Promotion:
    """The way of a version to the traffic.

    :param service: the serving system.
    :param policy: the steps; ``None``: all at once.
    :param timeout_seconds: how long the serving system may take for a change of traffic.
    :param questions: reads what to watch the release with, where it is needed.
    :param beside_live: what the version must show beside the live one before it gets any; ``None``: nothing.
    :param bodies: reads the requests for that.
    """

    def __init__(
        self,
        service: ServingService,
        model: str,
        version: str,
        *,
        policy: RolloutConfig | None,
        timeout_seconds: float,
        questions: Callable[[], Questions],
        beside_live: BesideLive | None = None,
        bodies: Callable[[BesideLive], Sequence[bytes]] | None = None,
    ) -> None:
        self._service = service
        self._model = model
        self._version = version
        self._policy = policy
        self._timeout_seconds = timeout_seconds
        self._questions = questions
        self._beside_live = beside_live
        self._bodies = bodies

    def has_steps(self) -> bool:
        """Return whether there is anything to watch before the version has all of the traffic."""
        live = self._service.get_live(self._model)
        is_new = live is not None and live.version != self._version
        return bool(self._policy and self._policy.steps and is_new and self._service.can_split_traffic(self._model))

    def compare(self) -> Iterator[float]:
        """Ask the version and the live one in turn, where that is wanted, and yield for how long to wait.

        Nothing is changed by it.

        :raises CheckFailedError: when the version is slower or fails more often than is allowed.
        """
        policy, bodies = self._beside_live, self._bodies
        if policy is None or bodies is None:
            return
        live = yield from patiently(lambda: self._service.get_live(self._model))
        if live is None or live.version == self._version:
            return
        both = SideBySide(
            policy=policy,
            version=self._version,
            live=live.version,
            bodies=bodies(policy),
            ask=self._ask,
        )
        yield from both.ask_in_turn()
        for line in both.judge():
            log.info("Passed %s.", line)

    def go(self) -> Iterator[float]:
        """Do it, and yield for how long to wait before it goes on. From the beginning it is safe to repeat.

        While the serving system is away it waits where it is.

        :raises CheckFailedError: naming the step and what was not good enough.
        :raises DeploymentFailedError: when the version fails while it gets the traffic, or is not ready in time.
        """
        yield from self.compare()
        if (yield from patiently(self.has_steps)):
            yield from self._in_steps()
        yield from self._arrival((yield from patiently(lambda: self._service.promote(self._model, self._version))))

    def _in_steps(self) -> Iterator[float]:
        def compare() -> None:
            for line in watch.compare_answers():
                log.info("Passed %s.", line)

        live = yield from patiently(lambda: self._service.get_live(self._model))
        assert self._policy and live  # or there are no steps
        watch = Watch(
            policy=self._policy, version=self._version, live=live.version, questions=self._questions(), ask=self._ask
        )
        yield from patiently(compare)
        for percent in self._policy.steps:
            shift = partial(self._service.shift_traffic, self._model, self._version, percent)
            yield from self._arrival((yield from patiently(shift)))
            words = "%s %s has %d %% of the traffic; watching it for %.0f s."
            log.info(words, self._model, self._version, percent, self._policy.watch_seconds)
            yield from self._undisturbed(watch, percent)
            for line in watch.judge_users(percent):
                log.info("Passed %s.", line)

    def _undisturbed(self, watch: Watch, percent: int) -> Iterator[float]:
        """Watch the users; again when the version lost pods meanwhile, to a drained node for example."""
        for _ in range(MOST_WATCHES):
            yield from watch.ask_users(percent)
            found = yield from patiently(self._look)
            if found is None or found.state is DeploymentState.READY:
                return
            log.warning("%s %s is watched again: %s", self._model, self._version, found.reason)
            yield from self._arrival(found)

    def _arrival(self, deployment: Deployment | None) -> Iterator[float]:
        """Wait until what was asked for has arrived; an outage is not the version's time."""
        name = f"{self._model} {self._version}"
        outage = Outage()
        deadline = time.monotonic() + self._timeout_seconds
        while deployment is None or deployment.state is not DeploymentState.READY:
            reason = (deployment and deployment.reason) or "no reason given"
            if deployment and deployment.state is DeploymentState.FAILED:
                raise DeploymentFailedError(f"{name} failed on its way to the traffic: {reason}")
            if time.monotonic() > deadline + outage.waited_seconds:
                raise DeploymentFailedError(
                    f"{name} did not get the traffic within {self._timeout_seconds:.0f} s: {reason}"
                )
            yield _POLL_SECONDS
            deployment = yield from patiently(self._look, outage)

    def _ask(self, body: bytes, version: str | None) -> Answer:
        return self._service.predict(self._model, body, version=version)

    def _look(self) -> Deployment | None:
        return self._service.get_deployment(self._model, self._version)


class PromotionTrigger(PollingTrigger):
    """Carries a promotion out. A triggerer that takes it over begins with the first step again.

    When a user ends the task for good ("mark failed" of the task or its DAG run), users are sent back to what was live
    before and the version goes. The event has ``failed_check`` where the watch found the version not good enough.

    :param model: name of the model.
    :param version: the version that gets the traffic.
    :param conn_id: connection to the serving system.
    :param deadline: when all of it must be over, see :class:`PollingTrigger`.
    :param rollout: the section of the model's YAML; empty: all at once.
    :param timeout_seconds: how long the serving system may take for a change of traffic.
    :param candidate_uri: URI of the version's ``candidate.json``, which holds the rows to watch it with.
    :param candidate_sha256: SHA-256 that it must have; ``None``: any.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    :param beside_live: what the version must show beside the live one, see
        :class:`~include.contracts.monitoring.shadow_settings.BesideLive`; empty: nothing.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        conn_id: str,
        deadline: datetime,
        rollout: Mapping[str, Any],
        timeout_seconds: float,
        candidate_uri: str | None,
        candidate_sha256: str | None,
        store_conn_id: str | None,
        beside_live: Mapping[str, Any] | None = None,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 1,
        was_accepted: bool = False,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
            was_accepted=was_accepted,
        )
        self.model = model
        self.version = version
        self.rollout = dict(rollout)
        self.timeout_seconds = timeout_seconds
        self.candidate_uri = candidate_uri
        self.candidate_sha256 = candidate_sha256
        self.store_conn_id = store_conn_id
        self.beside_live = dict(beside_live or {})
        self._work = BlockingWork()

    def arguments(self) -> dict[str, Any]:
        """Return what makes the same promotion again."""
        return {
            "model": self.model,
            "version": self.version,
            "rollout": self.rollout,
            "timeout_seconds": self.timeout_seconds,
            "candidate_uri": self.candidate_uri,
            "candidate_sha256": self.candidate_sha256,
            "store_conn_id": self.store_conn_id,
            "beside_live": self.beside_live,
        }

    def facts(self) -> dict[str, Any]:
        """Say which version an event is about."""
        return {"model": self.model, "version": self.version}

    async def connect(self) -> ServingService:
        """Return what serves the version."""
        return await aget_serving_service(self.conn_id)

    @property
    def acts(self) -> bool:
        """Whether it promotes: always, and from the beginning."""
        return True

    def promotion(self, service: ServingService) -> Promotion:
        """Return what is to be carried out."""
        return Promotion(
            service,
            self.model,
            self.version,
            policy=RolloutConfig.model_validate(self.rollout) if self.rollout else None,
            timeout_seconds=self.timeout_seconds,
            questions=lambda: self._read_kind().questions(),
            beside_live=BesideLive.model_validate(self.beside_live) if self.beside_live else None,
            bodies=self._read_bodies,
        )

    async def poll(self, service: ServingService, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Carry it out to its end."""
        steps = self.promotion(service).go()
        try:
            while True:
                pause = await self._work.do(next, steps, None)
                if pause is None:
                    return {}
                await asyncio.sleep(pause)
        except CheckFailedError as error:
            return {"failed_check": error.facts()}

    def is_good_end(self, payload: Mapping[str, Any]) -> bool:
        """Say whether the version has the traffic."""
        return super().is_good_end(payload) and "failed_check" not in payload

    async def on_kill(self) -> None:
        """Send users back if nobody goes on with the version."""

        async def send_back() -> None:
            await self._work.settle()  # it could give the traffic away again
            service = await self.connect()
            await self._work.do(lambda: service.roll_back(self.model, candidate=self.version, previous=None))

        await self.undo_if_given_up(f"The promotion of {self.model} {self.version}", send_back)

    def _read_bodies(self, policy: BesideLive) -> Sequence[bytes]:
        """Return requests that users have sent, the newest first; where there are none, the examples of the release."""
        kind = self._read_kind()
        captured = newest_bodies(kind.asked_again, policy, conn_id=self.store_conn_id)
        questions = kind.questions()
        bodies = captured or [questions.body([row]) for row in questions.rows]
        source = "captured requests" if captured else "examples of the release: no captured request can be asked again"
        log.info("%s %s is asked beside the live version: %d %s.", self.model, self.version, len(bodies), source)
        return bodies

    def _read_kind(self) -> Kind:
        assert self.candidate_uri  # the operator has read it
        candidate = read_judged(
            self.model,
            self.version,
            uri=self.candidate_uri,
            sha256=self.candidate_sha256,
            conn_id=self.store_conn_id,
        )
        return kind_of(candidate)
