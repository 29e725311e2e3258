"""Shows how a release answers one text: tokens, probabilities, the words that mattered, and what made the model.

``python -m include.classifier.lookback.explain --candidate-uri URI [--archive-sha256 HEX]``, on stdin
``{"text": "…", "served": {"version", "label", "probabilities"} or null}``.

The text comes on stdin, so that it stands in no list of processes, and goes nowhere but to stdout. The answer is made
by the code inside the archive, which is the code that the server runs. Ends with 1 when the served answer is another.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from include.classifier.lookback.recorded import NotTheSameError, packages_that_differ, read_candidate
from include.classifier.packaging.archive import PACKAGE, ArchiveError, open_archive
from include.classifier.serving.tokenizer_file import load_in_transformers
from include.contracts.documents import DocumentError

#: Words that are shown, those that mattered most first.
WORDS_SHOWN = 10

#: Served and in-process answers may differ by rounding; see ``packaging.LARGEST_DIFFERENCE``.
LARGEST_DIFFERENCE = 1e-3

_BAR_CHARACTERS = 40
_LINE_CHARACTERS = 100


@dataclass(frozen=True)
class Explanation:
    """How a model answers a text.

    :param prediction: as the served predictor returns it.
    :param tokens: what the model reads, special tokens included.
    :param n_tokens: how many the whole text has.
    :param max_length: how many the model reads, at most.
    :param words: each word that it reads, and by how much the label's probability falls without it.
    """

    prediction: Any
    tokens: list[str]
    n_tokens: int
    max_length: int
    words: list[tuple[str, float]]


def explain(folder: Path, text: str) -> Explanation:
    """Answer a text with the model and the code of an unpacked archive.

    Whether a word matters is found by leaving it out (occlusion; Li, Monroe and Jurafsky, "Understanding Neural
    Networks through Representation Erasure", 2016). It says what this one answer hangs on, one word at a time: words
    that do the same work cover for each other.

    :param folder: as :func:`open_archive` made it.
    :param text: as a user writes it.
    """
    predictor_module, text_module = _served_code(folder)
    predictor = predictor_module.Predictor.load(folder)
    tokenizer = load_in_transformers(folder)
    cleaned = text_module.clean(text)
    (token_ids,) = text_module.tokenise(tokenizer, [cleaned], predictor.max_length).input_ids
    offsets = tokenizer(
        cleaned, truncation=True, max_length=predictor.max_length, return_offsets_mapping=True
    ).offset_mapping
    read = cleaned[: max(end for _, end in offsets)]
    (prediction,) = predictor.predict([text])
    spans = [match.span() for match in re.finditer(r"\S+", read)]
    without = predictor.predict([read[:start] + read[end:] for start, end in spans]) if len(spans) > 1 else []
    return Explanation(
        prediction=prediction,
        tokens=tokenizer.convert_ids_to_tokens(token_ids),
        n_tokens=len(tokenizer(cleaned).input_ids),
        max_length=predictor.max_length,
        words=[
            (read[start:end], prediction.score - answer.probabilities[prediction.label])
            for (start, end), answer in zip(spans, without, strict=False)
        ],
    )


def _served_code(folder: Path) -> tuple[Any, Any]:
    """Import the archive's own predictor and text modules, as the server does."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]  # another archive's
    sys.path.insert(0, str(folder))
    try:
        return import_module(f"{PACKAGE}.predictor"), import_module(f"{PACKAGE}.text")
    finally:
        sys.path.remove(str(folder))


def largest_difference(prediction: Any, served: Mapping[str, Any]) -> float:
    """Return by how much a served probability differs from the archive's; 1 where the labels differ."""
    probabilities = served["probabilities"]
    if served["label"] != prediction.label or probabilities.keys() != prediction.probabilities.keys():
        return 1.0
    return max(abs(probabilities[label] - value) for label, value in prediction.probabilities.items())


def are_comparable(prediction: Any, served: Mapping[str, Any], candidate: Mapping[str, Any]) -> bool:
    """Tell whether both were computed with the same kernel; a processor may lack what the model was packed for."""
    # The archive's own code says it, which may be older than that.
    same = getattr(prediction, "computed_in", None) == served.get("computed_in")
    return same or not (candidate["serving"].get("precision") or {}).get("needs")


def lines(found: Explanation, candidate: Mapping[str, Any], served: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the explanation for people, line by line.

    :param candidate: ``candidate.json`` of the release.
    :param served: what the endpoint answered to the same text, ``None`` when it was not asked.
    """
    answer = found.prediction
    yield f"{candidate['model']} {candidate['version']} answers: {answer.label} ({answer.score:.4f})"
    yield ""
    yield from _bars(answer.probabilities)
    yield ""
    yield from _tokens(found)
    yield ""
    yield from _words(found)
    yield ""
    yield _of_endpoint(answer, served, candidate)
    yield ""
    yield from _versions(candidate)


def _bars(probabilities: Mapping[str, float]) -> Iterator[str]:
    width = max(len(label) for label in probabilities)
    for label, value in probabilities.items():
        yield f"  {label:<{width}}  {value:.4f}  {'█' * round(value * _BAR_CHARACTERS)}".rstrip()


def _tokens(found: Explanation) -> Iterator[str]:
    yield f"Tokens: {len(found.tokens)}, of at most {found.max_length}"
    yield from textwrap.wrap(
        " ".join(found.tokens), _LINE_CHARACTERS, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )
    if found.n_tokens > len(found.tokens):
        yield f"  TRUNCATED: the text has {found.n_tokens} tokens; what follows these was not read."


def _words(found: Explanation) -> Iterator[str]:
    if not found.words:
        yield "Words that mattered: there is only one."
        return
    label, score = found.prediction.label, found.prediction.score
    most = sorted(found.words, key=lambda word: abs(word[1]), reverse=True)[:WORDS_SHOWN]
    width = max(len(word) for word, _ in most)
    yield f"Words that mattered: probability of {label!r} without the word, one at a time"
    for word, fall in most:
        yield f"  {word:<{width}}  {score - fall:.4f}  {-fall:+.4f}"


def _of_endpoint(answer: Any, served: Mapping[str, Any] | None, candidate: Mapping[str, Any]) -> str:
    if served is None:
        return "Endpoint: this version is not being served; nobody else was asked."
    difference = largest_difference(answer, served)
    word = "the same" if difference <= LARGEST_DIFFERENCE else "ANOTHER ANSWER"
    if not are_comparable(answer, served, candidate):
        word = "computed in another precision, because one of both processors lacks what the model was packed for"
    return (
        f"Endpoint: {served['label']} ({served['probabilities'].get(served['label'], 0):.4f}) from version "
        f"{served['version']}: {word}, largest difference {difference:.6f}"
    )


def _versions(candidate: Mapping[str, Any]) -> Iterator[str]:
    dataset, training = candidate["dataset"], candidate["training"]
    revision = f" at {training['base_model_revision']}" if training["base_model_revision"] else ""
    facts = {
        "made": candidate["created_at"],
        "data": f"{dataset['train_rows']:,} rows, digest {dataset['sha256']}",
        "base model": f"{training['base_model']}{revision}",
        "code": candidate["code_revision"],
        "archive": candidate["archive"]["sha256"],
        "packages": ", ".join(f"{name} {number}" for name, number in sorted(candidate["packages"].items())),
        "here": ", ".join(packages_that_differ(candidate["packages"])) or "the same packages",
    }
    yield from (f"  {name:<11} {value}" for name, value in facts.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m include.classifier.lookback.explain", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--candidate-uri", required=True, help="URI of the release's candidate.json")
    parser.add_argument("--archive-sha256", default="", help="digest of the package, as the registry has it")
    options = parser.parse_args(arguments)
    question = json.load(sys.stdin)
    try:
        candidate = read_candidate(options.candidate_uri, options.archive_sha256)
        archive = candidate["archive"]
        with tempfile.TemporaryDirectory(prefix="explain-") as name:
            folder = open_archive(f"{archive['uri']}/{archive['file']}", Path(name), sha256=archive["sha256"])
            found = explain(folder, question["text"])
    except (NotTheSameError, ArchiveError, DocumentError, FileNotFoundError) as error:
        print(f"Cannot be explained: {error}", file=sys.stderr)
        return 2
    served = question.get("served")
    print(*lines(found, candidate, served), sep="\n")
    if served is None or not are_comparable(found.prediction, served, candidate):
        return 0
    return int(largest_difference(found.prediction, served) > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
