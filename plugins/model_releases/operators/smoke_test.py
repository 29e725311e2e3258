"""Tests a served version with real predictions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.states import DeploymentState
from model_releases.exceptions import CheckFailedError
from model_releases.kinds import kind_of
from model_releases.metrics import Metric, tell
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Answer, ServingService

_POLL_SECONDS = 2.0


class SmokeTestOperator(ReleaseStep):
    """Ask a version for predictions and compare them with what the packed model answered when it was made.

    Golden examples must give the recorded labels and probabilities, at once and one by one; every answer must come
    from this version; bad input must be refused with a 4xx; the median latency must be within its budget.

    :param through: ``candidate`` asks the version itself, ``endpoint`` goes through the address that users call.
    :param max_latency_ms: largest median of the single predictions (templated).
    :param probability_tolerance: largest difference to a recorded probability (templated).
    :param patience_seconds: how long a version that has just been deployed may answer 404, 503 or not at all.
    :param wake_seconds: how long a version may take that has scaled to zero, or lost its pods with a node.
    :raises DeploymentFailedError: when it does not come up again.
    :raises CheckFailedError: naming the first check that failed, what was expected and what came back.
    """

    template_fields = (*ReleaseStep.template_fields, "max_latency_ms", "probability_tolerance")

    def __init__(
        self,
        *,
        through: Literal["candidate", "endpoint"] = "candidate",
        max_latency_ms: float | str = 2000,
        probability_tolerance: float | str = 0.01,
        patience_seconds: float = 15,
        wake_seconds: float = 600,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if through not in ("candidate", "endpoint"):
            raise ValueError(f"through={through!r}: expected 'candidate' or 'endpoint'.")
        self.through = through
        self.max_latency_ms = max_latency_ms
        self.probability_tolerance = probability_tolerance
        self.patience_seconds = patience_seconds
        self.wake_seconds = wake_seconds

    def execute(self, context: Context) -> None:
        """Run the checks; one log line for each that passed."""
        candidate = self.read_candidate()
        service = self.serving_service()
        version = self.version if self.through == "candidate" else None
        test = kind_of(candidate).smoke_test(
            max_latency_ms=float(self.max_latency_ms),
            probability_tolerance=float(self.probability_tolerance),
            patience_seconds=self.patience_seconds,
        )

        def predict(body: bytes) -> Answer:
            return service.predict(self.model, body, version=version)

        try:
            self._wake(service)
            for line in test.run(predict):
                self.log.info("Passed %s.", line)
        except (CheckFailedError, DeploymentFailedError):
            tell(Metric.SMOKE_TEST_FAILED, time.time(), model=self.model, through=self.through)
            raise
        self.log.info("%s %s passed its smoke test through the %s.", self.model, self.version, self.through)

    def _wake(self, service: ServingService) -> None:
        """Wait until the version is there; what its answers are worth, and how fast they come, is tested then."""
        deadline = time.monotonic() + self.wake_seconds
        while True:
            found = service.get_deployment(self.model, self.version)
            if found is None or found.state is DeploymentState.READY:
                return
            if found.state is DeploymentState.FAILED or time.monotonic() > deadline:
                raise DeploymentFailedError(f"{self.model} {self.version} is not there to be tested: {found.reason}")
            self.log.info("%s %s is waited for: %s", self.model, self.version, found.reason)
            time.sleep(_POLL_SECONDS)
