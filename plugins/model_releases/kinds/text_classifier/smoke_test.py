"""What a served model must show before it gets traffic. No message names a text: rows are told by their number."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.contracts.kinds.text_classifier import Expected, GoldenExample
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError
from model_releases.kinds.answers import first_answer
from model_releases.kinds.kind import Predict

#: What users send by mistake. Each kind must be refused, and must not harm the server.
BAD_INPUTS: Mapping[str, bytes] = {
    "not JSON": b'{"instances": [',
    "no instances": b'{"instances": []}',
    "wrong type": b'{"instances": [1]}',
    "empty text": b'{"instances": [""]}',
}

_SUM_TOLERANCE = 1e-3
_ERROR_TYPE = re.compile(r"\w{1,80}")
_VERSION = re.compile(r"[0-9.]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSmokeTest:
    """The checks of one version.

    A server whose processor lacks what the model was packed for computes it in 32-bit floats and says so: then the
    answers that are recorded for these are the right ones.

    :param version: every answer must come from it.
    :param examples: golden examples, with the answers that the packed model gave.
    :param max_latency_ms: median of the single predictions.
    :param probability_tolerance: largest difference to a recorded probability.
    :param patience_seconds: how long a version that has just been deployed may answer 404, 503 or not at all.
    """

    version: str
    examples: Sequence[GoldenExample]
    max_latency_ms: float
    probability_tolerance: float
    patience_seconds: float = 15.0

    def run(self, predict: Predict) -> Iterator[str]:
        """Run the checks in order and yield one line for each that passed.

        :raises CheckFailedError: at the first check that fails.
        :raises ServiceUnavailableError: when a request is not answered at all; this says nothing about the model.
        """
        yield self._golden_at_once(predict)
        answers = [predict(_body([example])) for example in self.examples]
        yield self._golden_one_by_one(answers)
        yield self._latency(answers)
        for kind, body in BAD_INPUTS.items():
            yield _refused(kind, predict(body))

    def _golden_at_once(self, predict: Predict) -> str:
        check = "golden examples in one request"
        answer = first_answer(predict, _body(self.examples), self.patience_seconds)
        largest = self._compare(check, answer, self.examples, first_row=1)
        return f"{check}: {len(self.examples)} as recorded{_where([answer])}, largest difference {largest:.4f}"

    def _golden_one_by_one(self, answers: Sequence[Answer]) -> str:
        check = "golden examples one by one"
        largest = max(
            self._compare(check, answer, [example], first_row=row)
            for row, (answer, example) in enumerate(zip(answers, self.examples, strict=True), start=1)
        )
        return f"{check}: {len(answers)} as recorded{_where(answers)}, largest difference {largest:.4f}"

    def _latency(self, answers: Sequence[Answer]) -> str:
        median = statistics.median(answer.latency_ms for answer in answers)
        if median > self.max_latency_ms:
            raise CheckFailedError(
                "latency", expected=f"a median of at most {self.max_latency_ms:g} ms", got=f"{median:.0f} ms"
            )
        return f"latency: median {median:.0f} ms, at most {self.max_latency_ms:g} ms allowed"

    def _compare(self, check: str, answer: Answer, examples: Sequence[GoldenExample], *, first_row: int) -> float:
        predictions = _predictions(check, answer, len(examples))
        return max(
            self._compare_row(check, row, prediction, example)
            for row, (prediction, example) in enumerate(zip(predictions, examples, strict=True), start=first_row)
        )

    def _compare_row(self, check: str, row: int, prediction: Any, example: GoldenExample) -> float:
        """Compare one prediction with its golden example; return the largest difference of a probability."""
        probabilities = _probabilities(check, row, prediction, example)
        expected_answer = _expected(check, row, prediction, example)
        facts = (
            ("version", self.version, prediction.get("version")),
            ("label", expected_answer.label, prediction.get("label")),
            ("most probable label", prediction.get("label"), max(probabilities, key=lambda name: probabilities[name])),
        )
        for name, expected, got in facts:
            if got != expected:
                raise CheckFailedError(check, expected=f"{name} {expected} in row {row}", got=_known(got, example))
        difference = max(abs(value - expected_answer.probabilities[name]) for name, value in probabilities.items())
        if difference > self.probability_tolerance:
            raise CheckFailedError(
                check,
                expected=f"probabilities within {self.probability_tolerance} of the recorded ones in row {row}",
                got=f"a difference of {difference:.4f}",
            )
        return difference


def _body(examples: Sequence[GoldenExample]) -> bytes:
    """Return a request for all the labels that are recorded, however few the model answers by itself."""
    top_k = len(examples[0].probabilities)
    return json.dumps({"instances": [example.text for example in examples], "top_k": top_k}).encode()


def _predictions(check: str, answer: Answer, rows: int) -> list[Any]:
    if answer.status_code != 200:
        raise CheckFailedError(check, expected="HTTP 200", got=_status(answer))
    predictions = answer.body.get("predictions") if isinstance(answer.body, dict) else None
    if not isinstance(predictions, list) or len(predictions) != rows:
        got = f"{len(predictions)}" if isinstance(predictions, list) else "an answer without `predictions`"
        raise CheckFailedError(check, expected=f"{rows} prediction(s)", got=got)
    return predictions


def _probabilities(check: str, row: int, prediction: Any, example: GoldenExample) -> dict[str, float]:
    """Return a prediction's probabilities when they are complete, finite and sum to 1."""
    found = prediction.get("probabilities") if isinstance(prediction, dict) else None
    if not isinstance(found, dict) or found.keys() != example.probabilities.keys():
        expected = f"a probability for each of {len(example.probabilities)} labels in row {row}"
        raise CheckFailedError(check, expected=expected, got="other labels or none")
    total = sum(value if isinstance(value, int | float) else math.nan for value in found.values())
    # Written so that NaN fails.
    if not abs(total - 1) <= _SUM_TOLERANCE:
        raise CheckFailedError(check, expected=f"probabilities that sum to 1 in row {row}", got=f"a sum of {total:.4f}")
    return found


def _expected(check: str, row: int, prediction: Any, example: GoldenExample) -> Expected | GoldenExample:
    """Return what is to be answered by what the server says that it has computed with."""
    kernel = prediction.get("computed_in")
    try:
        return example.expected_in(kernel)
    except (KeyError, TypeError):  # TypeError: what stands there is no name.
        raise CheckFailedError(
            check,
            expected=f"row {row} computed in what the model was packed for, or in what is recorded for a processor "
            "that lacks it",
            got="another kernel",
        ) from None


def _where(answers: Sequence[Answer]) -> str:
    """Say what the server had to fall back to; nothing where it did not. All answers have been compared."""
    kernels = {row.get("computed_in") for answer in answers for row in answer.body["predictions"]} - {None}
    return f" for {' and '.join(sorted(kernels))}, which its processor had it fall back to" if kernels else ""


def _refused(kind: str, answer: Answer) -> str:
    if not 400 <= answer.status_code < 500:
        raise CheckFailedError(f"bad input ({kind})", expected="a 4xx status", got=_status(answer))
    return f"bad input ({kind}): refused with {answer.status_code}"


def _status(answer: Answer) -> str:
    """Name the status, and the server's word for the kind of error; its message could quote a text."""
    kind = answer.body.get("type") if isinstance(answer.body, dict) else None
    known = isinstance(kind, str) and _ERROR_TYPE.fullmatch(kind)
    return f"HTTP {answer.status_code} ({kind})" if known else f"HTTP {answer.status_code}"


def _known(value: Any, example: GoldenExample) -> str:
    """Name a label or a version; anything else could be a text that a broken model repeats."""
    is_known = isinstance(value, str) and (value in example.probabilities or _VERSION.fullmatch(value))
    return value if is_known else "another one"
