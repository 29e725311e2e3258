"""What the serving benchmarks ask, and what is a right answer: a packed model, and texts that it reads whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load import Answer, ask, figures
from benchmarks.models import MAX_LENGTH
from benchmarks.reviews import cut, pick
from include.contracts.settings import ServingConfig

if TYPE_CHECKING:
    from benchmarks.servers import Server
    from include.classifier.serving.predictor import Prediction

REQUESTS, P50, P95, P99 = "requests", "median", "95th percentile", "99th percentile"
UNITS = {REQUESTS: "a second", P50: "ms", P95: "ms", P99: "ms"}
#: Between two ways to compute the same.
_PARITY = 1e-3


def prepare_model(trained: Path, target: Path, texts: Sequence[str]) -> tuple[Path, Mapping[str, Any]]:
    """Return the model folder that is packed for serving, and how it was chosen: what packaging does."""
    from include.classifier.packaging.package import SAMPLE_ROWS
    from include.classifier.packaging.precision import choose

    return choose(trained, target, texts=pick(texts, SAMPLE_ROWS))


def questions(trained: Path, reviews: Sequence[str], count: int, *, max_length: int = MAX_LENGTH) -> list[str]:
    """Return texts that the model reads to their ends.

    :param max_length: of each, in tokens.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(trained, trust_remote_code=False)
    return cut(tokenizer, pick(reviews, count), max_length=max_length)


def with_server(
    server: Server, texts: Sequence[str], *, clients: int
) -> tuple[dict[str, float], list[Mapping[str, float] | str]]:
    """Ask a server for every text; return the figures and what it found.

    :raises RuntimeError: when a request fails.
    """
    answers = ask(server.target, [server.write(text) for text in texts], clients=clients)
    if failed := [answer for answer in answers if answer.status != 200]:
        raise RuntimeError(
            f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0].status}: "
            f"{failed[0].body[:200]}"
        )
    return measures(answers), [server.read(answer.body) for answer in answers]


def measures(answers: Sequence[Answer]) -> dict[str, float]:
    """Return the figures of one run, as :data:`UNITS` names them."""
    found = figures(answers)
    return {REQUESTS: found["requests"], P50: found["p50"], P95: found["p95"], P99: found["p99"]}


def check(
    side: str, expected: Sequence[Prediction], found: Sequence[Mapping[str, float] | str], *, bound: float = _PARITY
) -> float:
    """Return the largest difference of a probability to what it must be.

    Where a side gives nothing but the label, it is how far that label's probability lies below the best one's.

    :raises RuntimeError: when it is above the bound: nothing is won by wrong answers.
    """
    largest = max(_difference(right, given) for right, given in zip(expected, found, strict=True))
    if largest > bound:
        raise RuntimeError(f"{side}: answers differ by {largest:.2g} from what they must be (allowed: {bound:g}).")
    return largest


def largest_difference() -> float:
    """Return how far the probabilities of what is packed may lie from the model's as it was trained."""
    return ServingConfig().max_probability_difference


def _difference(expected: Prediction, found: Mapping[str, float] | str) -> float:
    if isinstance(found, str):
        return expected.score - expected.probabilities[found]
    return max(abs(value - expected.probabilities[label]) for label, value in found.items())
