"""Text classifiers: what this project trains itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring.captured import CapturedRequest
from include.contracts.rules.gate import Decision, decide
from include.contracts.settings import GateConfig
from kubeflow_provider.services import Answer
from model_releases.config import read_section
from model_releases.config.text_classifier import EXAMPLE_TEXT
from model_releases.kinds.text_classifier.approval_card import approval_card
from model_releases.kinds.text_classifier.figures import figures, slice_figures
from model_releases.kinds.text_classifier.shadow import changed_figures
from model_releases.kinds.text_classifier.smoke_test import TextSmokeTest


class Texts:
    """Held-out rows of a release; each answer names the version that gave it."""

    rows_per_request = 16

    def __init__(self, rows: Sequence[str]) -> None:
        self.rows = rows

    def body(self, rows: Sequence[Any]) -> bytes:
        """Return the request that asks for some texts."""
        return json.dumps({"instances": list(rows)}).encode()

    def outcomes(self, answer: Answer, rows: Sequence[Any]) -> list[str]:
        """Return the labels."""
        found = _each(answer, "label")
        if len(found) != len(rows):
            raise ValueError(f"{len(found)} predictions for {len(rows)} rows")
        return found

    def version(self, answer: Answer) -> str:
        """Return which version gave the first prediction."""
        return next(iter(_each(answer, "version")), "")


class TextClassifier:
    """A :class:`~model_releases.kinds.kind.Kind`.

    :param candidate: what its pipeline says of it.
    """

    def __init__(self, candidate: TextClassifierCandidate) -> None:
        self._candidate = candidate

    def policy(self, values: Mapping[str, Any]) -> GateConfig:
        """Return its thresholds."""
        return read_section(GateConfig, values, name="gate")

    def decide(self, policy: GateConfig, *, live_version: str | None, live_at_start: str | None = None) -> Decision:
        """Compare it with its thresholds, the live model and the simple baseline."""
        return decide(self._candidate, policy, live_version=live_version, live_at_start=live_at_start)

    def smoke_test(
        self, *, max_latency_ms: float, probability_tolerance: float, patience_seconds: float
    ) -> TextSmokeTest:
        """Golden examples must give what the packed model gave, and bad input must be refused."""
        return TextSmokeTest(
            version=self._candidate.version,
            examples=self._candidate.golden_examples,
            max_latency_ms=max_latency_ms,
            probability_tolerance=probability_tolerance,
            patience_seconds=patience_seconds,
        )

    def questions(self) -> Texts:
        """Return the held-out rows."""
        candidate = self._candidate
        return Texts(candidate.held_out_texts or [example.text for example in candidate.golden_examples])

    def asked_again(self, request: CapturedRequest) -> bytes | None:
        """Return a request for the same texts, where all of them were kept."""
        texts = [row.input for row in request.rows]
        return self.questions().body(texts) if texts and all(isinstance(text, str) for text in texts) else None

    def approval_card(self, *, decision: str | None, report_url: str | None, show_texts: bool) -> str:
        """Return the metrics, slices and labels, and rows on which candidate and live model disagree."""
        return approval_card(self._candidate, decision=decision, report_url=report_url, show_texts=show_texts)

    def figures(self, policy: GateConfig | None) -> Sequence[Sequence[str]]:
        """Return candidate, live model and baseline beside each other."""
        return [
            *figures(self._candidate.metrics, policy),
            *slice_figures(self._candidate, policy),
            *changed_figures(self._candidate.shadow, policy),
        ]

    def example(self) -> bytes:
        """Return a request for a text that anybody may see."""
        return json.dumps({"instances": [EXAMPLE_TEXT]}).encode()


def _each(answer: Answer, field: str) -> list[str]:
    try:
        return [str(prediction[field]) for prediction in answer.body["predictions"]]
    except (KeyError, TypeError) as error:
        raise ValueError("this is no answer of a text classifier") from error
