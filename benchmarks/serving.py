"""How many reviews a second an endpoint classifies, and how quickly it answers: ours against what others would take.

All sides have the same weights and classify the same texts, which are cut to what the model reads beforehand. A side
that gives other answers than the model stops the benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop, instruction_sets
from benchmarks.load import Answer, ask, figures
from benchmarks.models import MAX_LENGTH, write_distilbert
from benchmarks.reviews import cut, pick, read_reviews
from benchmarks.servers import Server, mlserver, native, ours, plain_fastapi, seed_handler
from include.contracts.settings import ServingConfig

if TYPE_CHECKING:
    from include.classifier.serving.predictor import Prediction, Predictor

HANDLER, FASTAPI, MLSERVER, LIMIT = "tutorial's handler", "FastAPI", "MLServer", "no server"
NATIVE = "native server"
REQUESTS, P50, P95, P99 = "requests", "median", "95th percentile", "99th percentile"
_WARM_UP_REQUESTS = 32
#: Between two ways to compute the same.
_PARITY = 1e-3
_SIDES: dict[str, tuple[str, Callable[[Path], contextlib.AbstractContextManager[Server]]]] = {
    NATIVE: ("the same archive in the native server", native),
    HANDLER: ("one text at a time, in the same TorchServe with the tutorial's settings", seed_handler),
    FASTAPI: ("a Transformers pipeline in one process of uvicorn", plain_fastapi),
    MLSERVER: ("its Hugging Face runtime as it is by default", mlserver),
}


def main() -> None:
    """Measure, and write ``results/serving.json``."""
    parser = arguments(__doc__ or "", sizes=[1, 8, 32], pairs=3, counted="numbers of clients")
    parser.add_argument("--requests", type=int, default=128, help="of each run")
    parser.add_argument("--texts", type=Path, help="CSV with a column `text` (default: sample reviews)")
    parser.add_argument("--layers", type=int, default=6, help="of the model; fewer for a trial")
    parser.add_argument("--sides", nargs="+", choices=list(_SIDES), default=list(_SIDES), help="besides ours")
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    with tempfile.TemporaryDirectory(prefix="serving-") as name, contextlib.ExitStack() as servers:
        reviews = read_reviews(given.texts)
        trained = write_distilbert(Path(name) / "trained", reviews, layers=given.layers)
        packed, facts = prepare_model(trained, Path(name) / "packed", reviews)
        texts = questions(trained, reviews, given.requests)
        right, predictor = _load(trained).predict(texts), _load(packed)
        ours_right = predictor.predict(texts)
        difference = check("packed", right, [found.probabilities for found in ours_right], bound=_largest_difference())
        benchmark = _benchmark(given, facts)
        running = {OURS: servers.enter_context(ours(packed))}
        running |= {
            side: servers.enter_context(_SIDES[side][1](packed if side == NATIVE else trained)) for side in given.sides
        }
        for server in running.values():
            ask(server.target, [server.write(text) for text in texts[:_WARM_UP_REQUESTS]], clients=max(given.sizes))
        for clients, side in benchmark.runs():
            if side == LIMIT:
                measured, found = without_server(predictor, texts, rows=clients)
            else:
                measured, found = with_server(running[side], texts, clients=clients)
            check(side, ours_right if side in (OURS, NATIVE, LIMIT) else right, found)
            benchmark.add(clients, side, measured)
    judge(benchmark, difference)
    print(benchmark.write())


def prepare_model(trained: Path, target: Path, texts: Sequence[str]) -> tuple[Path, Mapping[str, Any]]:
    """Return the model folder that is packed for serving, and how it was chosen: what packaging does."""
    from include.classifier.packaging.package import SAMPLE_ROWS
    from include.classifier.packaging.precision import choose

    return choose(trained, target, texts=pick(texts, SAMPLE_ROWS))


def questions(trained: Path, reviews: Sequence[str], count: int) -> list[str]:
    """Return texts that the model reads to their ends."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(trained, trust_remote_code=False)
    return cut(tokenizer, pick(reviews, count), max_length=MAX_LENGTH)


def with_server(
    server: Server, texts: Sequence[str], *, clients: int
) -> tuple[dict[str, float], list[Mapping[str, float] | str]]:
    """Ask a server for every text; return the figures and what it found.

    :raises RuntimeError: when a request fails.
    """
    answers = ask(server.target, [server.write(text) for text in texts], clients=clients)
    if failed := [answer for answer in answers if answer.status != 200]:
        raise RuntimeError(f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0].status}.")
    return _measures(answers), [server.read(answer.body) for answer in answers]


def without_server(
    predictor: Predictor, texts: Sequence[str], *, rows: int
) -> tuple[dict[str, float], list[Mapping[str, float] | str]]:
    """Classify every text in this process, as many at once as there would be clients; see :func:`with_server`."""
    answers, found = [], []
    for first in range(0, len(texts), rows):
        began = time.monotonic()
        predictions = predictor.predict(texts[first : first + rows])
        seconds = time.monotonic() - began
        found += [prediction.probabilities for prediction in predictions]
        answers += [Answer(row=first, began=began, seconds=seconds, status=200) for _ in predictions]
    return _measures(answers), list(found)


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


def judge(benchmark: Benchmark, difference: float) -> None:
    """Compare what was measured with what was to be reached.

    :param difference: the largest one of a probability that we serve to the one in float32.
    """
    fewest, most = min(benchmark.sizes), max(benchmark.sizes)

    for side in benchmark.sides:
        requests, latency = benchmark.ours_by(REQUESTS, most, side), benchmark.ours_by(P50, fewest, side)
        if side == HANDLER:
            benchmark.require(f"times the requests of the {side}, {most} clients", requests, at_least=4)
            benchmark.require(f"times the median latency of the {side}, {fewest} client", latency, at_most=1)
        elif side == LIMIT:
            benchmark.require(f"of the requests without a server, {most} clients", requests, at_least=0.85)
        elif side == NATIVE:
            _judge_native(benchmark)
        elif side != OURS:
            benchmark.require(f"times the requests of {side}, {most} clients", requests, at_least=1)
    benchmark.require("largest difference of a probability to float32", difference, at_most=_largest_difference())


def _judge_native(benchmark: Benchmark) -> None:
    """Compare the native server with what it was to reach, by way of ours, with which every side was paired."""
    fewest, most = min(benchmark.sizes), max(benchmark.sizes)
    if HANDLER in benchmark.sides:
        by_handler = benchmark.by_ours(REQUESTS, most, NATIVE) * benchmark.ours_by(REQUESTS, most, HANDLER)
        benchmark.require(f"native: times the requests of the {HANDLER}, {most} clients", by_handler, at_least=8)
    if LIMIT in benchmark.sides:
        by_limit = benchmark.by_ours(P50, fewest, NATIVE) * benchmark.ours_by(P50, fewest, LIMIT)
        benchmark.require(f"native: times the median without a server, {fewest} client", by_limit, at_most=1.15)


def _benchmark(given: argparse.Namespace, facts: Mapping[str, Any]) -> Benchmark:
    return Benchmark(
        name="serving",
        title="Serving",
        sides={
            OURS: f"the archive in TorchServe, as the image serves it; chosen at packaging: {facts['chosen']}",
            **{side: _SIDES[side][0] for side in given.sides},
            LIMIT: "ours without any server: the same passes in one process, as many texts at once as clients",
        },
        sizes=given.sizes,
        size_unit="clients",
        pairs=given.pairs,
        units={REQUESTS: "a second", P50: "ms", P95: "ms", P99: "ms"},
        notes=(
            f"A DistilBERT of {given.layers} layers, 768 wide, with random weights; {given.requests} "
            f"{'given' if given.texts else 'sample'} reviews in each run, one in a request, cut to {MAX_LENGTH} tokens "
            "beforehand.",
            "Each client has one request on its way at any time, over a connection that stays open. Clients are "
            "threads of a process of their own on the same machine; all servers are up all the time.",
            "Every answer is compared: ours with those of the packed model in-process, and these and all others with "
            "those of the model in float32.",
            f"Instruction sets that matter to int8: {instruction_sets()}.",
        ),
    )


def _measures(answers: Sequence[Answer]) -> dict[str, float]:
    found = figures(answers)
    return {REQUESTS: found["requests"], P50: found["p50"], P95: found["p95"], P99: found["p99"]}


def _difference(expected: Prediction, found: Mapping[str, float] | str) -> float:
    if isinstance(found, str):
        return expected.score - expected.probabilities[found]
    return max(abs(value - expected.probabilities[label]) for label, value in found.items())


def _largest_difference() -> float:
    """Return how far the probabilities of what is packed may lie from the model's as it was trained."""
    return ServingConfig().max_probability_difference


def _load(folder: Path) -> Predictor:
    from include.classifier.serving.cpus import threads_of_a_worker
    from include.classifier.serving.predictor import Predictor

    return Predictor.load(folder, device="cpu", threads=threads_of_a_worker(ServingConfig().workers))


if __name__ == "__main__":
    main()
