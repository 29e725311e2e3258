"""Tests a served version with real predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from model_releases.operators.base import ReleaseStep
from model_releases.rules.smoke_test import SmokeTest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Answer


class SmokeTestOperator(ReleaseStep):
    """Ask a version for predictions and compare them with what the packed model answered when it was made.

    Golden examples must give the recorded labels and probabilities, at once and one by one; every answer must come
    from this version; bad input must be refused with a 4xx; the median latency must be within its budget.

    :param through: ``candidate`` asks the version itself, ``endpoint`` goes through the address that users call.
    :param max_latency_ms: largest median of the single predictions (templated).
    :param probability_tolerance: largest difference to a recorded probability (templated).
    :param patience_seconds: how long a version that has just been deployed may answer 404, 503 or not at all.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if through not in ("candidate", "endpoint"):
            raise ValueError(f"through={through!r}: expected 'candidate' or 'endpoint'.")
        self.through = through
        self.max_latency_ms = max_latency_ms
        self.probability_tolerance = probability_tolerance
        self.patience_seconds = patience_seconds

    def execute(self, context: Context) -> None:
        """Run the checks; one log line for each that passed."""
        candidate = self.read_candidate()
        service = self.serving_service()
        version = self.version if self.through == "candidate" else None
        test = SmokeTest(
            version=self.version,
            examples=candidate.golden_examples,
            max_latency_ms=float(self.max_latency_ms),
            probability_tolerance=float(self.probability_tolerance),
            patience_seconds=self.patience_seconds,
        )

        def predict(body: bytes) -> Answer:
            return service.predict(self.model, body, version=version)

        for line in test.run(predict):
            self.log.info("Passed %s.", line)
        self.log.info("%s %s passed its smoke test through the %s.", self.model, self.version, self.through)
