"""What a served model must show before it gets traffic: recorded requests, answered as expected by this version.

No message repeats what was sent or answered: requests are told by their number, places in an answer by their path.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from include.contracts.kinds.kubeflow_model import Recorded
from include.contracts.kinds.kubeflow_settings import body_of
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError
from model_releases.kinds.answers import answering_version, first_answer
from model_releases.kinds.kind import Predict

#: Fields of an answer that name the version or the request and say nothing of what was predicted.
_NAMES = frozenset({"id", "model_name", "model_version"})
_VERSION = re.compile(r"[0-9]{14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsSmokeTest:
    """The checks of one version.

    :param version: every answer must come from it.
    :param requests: what is asked, with what must come back.
    :param refused: what must be refused.
    :param max_latency_ms: median of the recorded requests, each of them sent once more when all have been answered.
    :param max_answer_bytes: largest answer.
    :param patience_seconds: how long a version that has just been deployed may answer 404, 503 or not at all.
    """

    version: str
    requests: Sequence[Recorded]
    refused: Sequence[JsonValue]
    max_latency_ms: float
    max_answer_bytes: int
    patience_seconds: float = 15.0

    def run(self, predict: Predict) -> Iterator[str]:
        """Run the checks in order and yield one line for each that passed.

        :raises CheckFailedError: at the first check that fails.
        :raises ServiceUnavailableError: when a request is not answered at all; this says nothing about the model.
        """
        for number, recorded in enumerate(self.requests, start=1):
            patience = self.patience_seconds if number == 1 else 0.0
            answer = first_answer(predict, body_of(recorded.request), patience)
            yield self._as_recorded(number, recorded, answer)
        yield self._latency([predict(body_of(recorded.request)) for recorded in self.requests])
        for number, request in enumerate(self.refused, start=1):
            yield _refused(f"bad request {number} of {len(self.refused)}", predict(body_of(request)))

    def _as_recorded(self, number: int, recorded: Recorded, answer: Answer) -> str:
        check = f"recorded request {number} of {len(self.requests)}"
        if answer.status_code != 200:
            raise CheckFailedError(check, expected="HTTP 200", got=f"HTTP {answer.status_code}")
        found = answering_version(answer)
        if found != self.version:
            got = found if _VERSION.fullmatch(found) else "another one" if found else "no version: nobody says which"
            raise CheckFailedError(check, expected=f"an answer of version {self.version}", got=got)
        size = len(json.dumps(answer.body))
        if size > self.max_answer_bytes:
            raise CheckFailedError(check, expected=f"at most {self.max_answer_bytes:,} bytes", got=f"{size:,} bytes")
        if recorded.answer is None:
            return f"{check}: answered by {self.version}"
        largest = max(_differences(check, recorded.answer, answer.body, recorded.tolerance, "answer"), default=0.0)
        return f"{check}: as recorded, largest difference {largest:.3g}, at most {recorded.tolerance:g} allowed"

    def _latency(self, answers: Sequence[Answer]) -> str:
        median = statistics.median(answer.latency_ms for answer in answers)
        if median > self.max_latency_ms:
            expected = f"a median of at most {self.max_latency_ms:g} ms"
            raise CheckFailedError("latency", expected=expected, got=f"{median:.0f} ms")
        return f"latency: median {median:.0f} ms, at most {self.max_latency_ms:g} ms allowed"


def outcome(recorded: Recorded, body: Any) -> str:
    """Return what an answer comes to: as recorded, or what it says; equal where two versions answer alike."""
    if recorded.answer is not None:
        try:
            for _ in _differences("", recorded.answer, body, recorded.tolerance, "answer"):
                pass
        except CheckFailedError:
            return canonical(body)
        return "as recorded"
    return canonical(body)


def canonical(body: Any) -> str:
    """Return an answer as text in which equal predictions are equal: numbers to six digits, no names of versions."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in _NAMES}
    return json.dumps(_rounded(body), sort_keys=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _differences(check: str, expected: JsonValue, got: Any, tolerance: float, place: str) -> Iterator[float]:
    """Yield the difference of every number that was expected.

    :param place: path of the part in the answer.
    :raises CheckFailedError: at the first part that is not as expected; objects may hold more than that.
    """
    if isinstance(expected, dict) and isinstance(got, dict):
        for name, part in expected.items():
            if name not in got:
                raise CheckFailedError(check, expected=f"{place}.{name}", got="nothing there")
            yield from _differences(check, part, got[name], tolerance, f"{place}.{name}")
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            raise CheckFailedError(check, expected=f"{len(expected)} entries in {place}", got=str(len(got)))
        for index, (part, found) in enumerate(zip(expected, got, strict=True)):
            yield from _differences(check, part, found, tolerance, f"{place}[{index}]")
    elif _is_number(expected) and _is_number(got):
        difference = abs(float(got) - float(expected))  # type: ignore[arg-type]
        # Written so that NaN fails.
        if not difference <= tolerance:
            wanted = f"{place} within {tolerance:g} of what was recorded"
            raise CheckFailedError(check, expected=wanted, got=f"a difference of {difference:.3g}")
        yield difference
    elif type(expected) is not type(got) or expected != got:
        raise CheckFailedError(check, expected=f"{place} as recorded", got="something else")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isinf(value)


def _refused(check: str, answer: Answer) -> str:
    if not 400 <= answer.status_code < 500:
        raise CheckFailedError(check, expected="a 4xx status", got=f"HTTP {answer.status_code}")
    return f"{check}: refused with {answer.status_code}"
