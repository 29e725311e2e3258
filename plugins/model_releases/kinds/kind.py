"""What a release needs to know of a model, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from include.contracts.monitoring.captured import CapturedRequest
from include.contracts.rules.gate import Decision
from include.contracts.section import Section
from kubeflow_provider.services import Answer
from model_releases.rules.rollout import Questions

#: Sends one raw request body and returns what came back.
Predict = Callable[[bytes], Answer]


class SmokeTest(Protocol):
    """What a served version must show before it gets traffic."""

    def run(self, predict: Predict) -> Iterator[str]:
        """Run the checks in order and yield one line for each that passed.

        :raises CheckFailedError: at the first check that fails.
        :raises ServiceUnavailableError: when a request is not answered at all; this says nothing about the model.
        """


class Kind(Protocol):
    """A candidate as its kind sees it."""

    def policy(self, values: Mapping[str, Any]) -> Section:
        """Return section ``gate`` of the model's YAML, whose numbers templates may have turned into text.

        :raises InvalidRequestError: naming every setting that is unknown or wrong.
        """

    def decide(self, policy: Any, *, live_version: str | None, live_at_start: str | None = None) -> Decision:
        """Return the gate's word.

        :param policy: from :meth:`policy`.
        :param live_version: what is live now, ``None`` before the first release.
        :param live_at_start: what was live when the release began; counts where the candidate could not be compared.
        """

    def smoke_test(self, *, max_latency_ms: float, probability_tolerance: float, patience_seconds: float) -> SmokeTest:
        """Return the checks that the served version has to pass.

        :param max_latency_ms: largest median of the single predictions.
        :param probability_tolerance: largest difference of a number to the recorded one.
        :param patience_seconds: how long a version that has just been deployed may answer 404, 503 or not at all.
        """

    def questions(self) -> Questions:
        """Return what to watch a rollout with."""

    def asked_again(self, request: CapturedRequest) -> bytes | None:
        """Return a captured request as it can be sent again, ``None`` where too little of it was kept."""

    def approval_card(self, *, decision: str | None, report_url: str | None, show_texts: bool) -> str:
        """Return what a person reads before saying yes or no, as Markdown.

        :param decision: the gate's line, where there was a gate.
        :param report_url: page of the report, where there is one.
        :param show_texts: whether it may show rows of the data, which Airflow then keeps in its database.
        """

    def figures(self, policy: Any) -> Sequence[Sequence[str]]:
        """Return the table of the release card, its head first: what was measured, and what was asked for.

        :param policy: from :meth:`policy`; ``None`` where the gate was not reached.
        """

    def example(self) -> bytes:
        """Return a request that anybody may see, to try the endpoint with."""
