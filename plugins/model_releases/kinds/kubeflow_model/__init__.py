"""Models that a pipeline of anybody's makes and KServe serves: judged by named metrics, proven by recorded requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate, Recorded
from include.contracts.kinds.kubeflow_settings import MetricsGate, body_of
from include.contracts.monitoring.captured import CapturedRequest
from include.contracts.monitoring.newest import is_whole
from include.contracts.rules.gate import Decision
from include.contracts.rules.metrics_gate import decide_by_metrics
from kubeflow_provider.services import Answer
from model_releases.config import read_section
from model_releases.kinds.answers import answering_version
from model_releases.kinds.kubeflow_model.approval_card import approval_card
from model_releases.kinds.kubeflow_model.figures import figures
from model_releases.kinds.kubeflow_model.smoke_test import RequestsSmokeTest, outcome


class RecordedRequests:
    """The recorded requests of a release, to watch a rollout with: each is a request of its own."""

    rows_per_request = 1

    def __init__(self, rows: Sequence[Recorded]) -> None:
        self.rows = rows

    def body(self, rows: Sequence[Recorded]) -> bytes:
        """Return a request as it is."""
        return body_of(rows[0].request)

    def outcomes(self, answer: Answer, rows: Sequence[Recorded]) -> list[str]:
        """Return whether it is as recorded, within its tolerance; else what was answered, without names of versions."""
        if answer.status_code != 200:
            raise ValueError(f"HTTP {answer.status_code}")
        return [outcome(rows[0], answer.body)]

    def version(self, answer: Answer) -> str:
        """Return which version has answered."""
        return answering_version(answer)


class KubeflowModel:
    """A :class:`~model_releases.kinds.kind.Kind`.

    :param candidate: what its release says of it.
    """

    def __init__(self, candidate: KubeflowModelCandidate) -> None:
        self._candidate = candidate

    def policy(self, values: Mapping[str, Any]) -> MetricsGate:
        """Return its bounds."""
        return read_section(MetricsGate, values, name="metrics")

    def decide(self, policy: MetricsGate, *, live_version: str | None, live_at_start: str | None = None) -> Decision:
        """Compare it with its bounds and with what is recorded of the live version."""
        return decide_by_metrics(self._candidate, policy, live_version=live_version, live_at_start=live_at_start)

    def smoke_test(
        self, *, max_latency_ms: float, probability_tolerance: float, patience_seconds: float
    ) -> RequestsSmokeTest:
        """Recorded requests must be answered as expected, and others refused.

        :param probability_tolerance: not asked: each request has brought its own.
        """
        candidate = self._candidate
        return RequestsSmokeTest(
            version=candidate.version,
            requests=candidate.requests,
            refused=candidate.refused,
            max_latency_ms=max_latency_ms,
            max_answer_bytes=candidate.max_answer_bytes,
            patience_seconds=patience_seconds,
        )

    def questions(self) -> RecordedRequests:
        """Return the recorded requests."""
        return RecordedRequests(self._candidate.requests)

    def asked_again(self, request: CapturedRequest) -> bytes | None:
        """Return a request for the same instances, where they are there as they came.

        Of the Open Inference Protocol names and types of the tensors were not kept, and a text alone may have stood in
        an object.
        """
        instances = [row.input for row in request.rows]
        is_v1 = self._candidate.predictor.protocol == request.protocol == "v1"
        if not is_v1 or not instances or not all(map(_came_so, instances)):
            return None
        return body_of({"instances": instances})

    def approval_card(self, *, decision: str | None, report_url: str | None, show_texts: bool) -> str:
        """Return the metrics and where the model comes from."""
        return approval_card(self._candidate, decision=decision, report_url=report_url)

    def figures(self, policy: MetricsGate | None) -> Sequence[Sequence[str]]:
        """Return candidate and live version beside each other."""
        return figures(self._candidate, policy)

    def example(self) -> bytes:
        """Return the first recorded request."""
        return body_of(self._candidate.requests[0].request)


def _came_so(instance: Any) -> bool:
    return not isinstance(instance, str) and is_whole(instance)
