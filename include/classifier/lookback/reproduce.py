"""Trains a release again from what its ``candidate.json`` records, and compares.

``python -m include.classifier.lookback.reproduce --candidate-uri URI``, with ``--archive-sha256 HEX``,
``--serving JSON``, ``--tolerance 0.01`` and ``--any-code``.

Same data, same code, same parameters; then the same rows are scored and the golden examples asked. Nothing of registry
or serving is touched: the outcome is printed as a table and written as ``reproduction.json`` beside ``candidate.json``.
Ends with 0 when everything lies within the tolerance, with 1 when it does not or when another try may help, and with 2
when data or code are not those of the release.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.classifier.data.dataset import dataset_digest, read_dataset, read_split
from include.classifier.data.problems import DataError
from include.classifier.data.sources import as_uri
from include.classifier.lookback.recorded import NotTheSameError, packages_that_differ, read_candidate
from include.code_revision import code_revision
from include.contracts.documents import DocumentError
from include.contracts.metrics import MAIN_METRICS
from include.contracts.settings import TrainingConfig

REPRODUCTION = "reproduction.json"

#: Rounding differs from machine to machine, and training multiplies it. On one machine the difference is 0.
DEFAULT_TOLERANCE = 0.01

_WEIGHTS = (".safetensors", ".onnx")


def reproduce(
    candidate_uri: str,
    *,
    archive_sha256: str = "",
    serving: Mapping[str, Any] | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    any_code: bool = False,
) -> dict[str, Any]:
    """Train again, compare, and write ``reproduction.json``.

    :param candidate_uri: of the ``candidate.json`` of a release.
    :param archive_sha256: what the registry says of its package; empty: not compared.
    :param serving: section ``serving`` of the model's YAML, which the package holds; default: its defaults.
    :param tolerance: largest difference of a metric and of a golden probability.
    :param any_code: train although the code is another; what differs is noted.
    :return: the content of ``reproduction.json``; ``reproduced`` is the word.
    :raises NotTheSameError: naming what is not the same.
    :raises DataError: when the data set is gone or was changed.
    """
    candidate = read_candidate(candidate_uri, archive_sha256)
    notes = list(check_code(candidate, any_code=any_code))
    dataset = read_dataset(candidate["dataset"]["uri"])
    if dataset_digest(dataset) != candidate["dataset"]["sha256"]:
        raise NotTheSameError(
            f"The data differ: {candidate['dataset']['uri']} has digest {dataset_digest(dataset)}, the release was "
            f"trained on {candidate['dataset']['sha256']}. Put its data set back."
        )
    notes += packages_that_differ(candidate["packages"])
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        archive = _train_and_pack(candidate, dataset, serving, Path(name))
        found = _compare(candidate, dataset, archive, Path(name))
    if kernel := found.pop("computed_in"):
        notes.append(_fell_back(candidate, kernel))
    golden, metrics = found["golden_examples"], found["metrics"]
    differences = [golden["largest_difference"], *(abs(values["difference"]) for values in metrics.values())]
    document = {
        "schema_version": 1,
        "model": candidate["model"],
        "version": candidate["version"],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reproduced": max(differences) <= tolerance and not golden["other_labels"],
        "tolerance": tolerance,
        **found,
        "code_revision": code_revision() or "unknown",
        "notes": notes,
    }
    _write(document, candidate_uri)
    return document


def check_code(candidate: Mapping[str, Any], *, any_code: bool) -> Iterator[str]:
    """Compare the code with the release's, and say what nobody can know.

    :raises NotTheSameError: when it differs, unless any code will do.
    """
    recorded, now = str(candidate["code_revision"]), code_revision() or "unknown"
    if recorded != now:
        if not any_code:
            raise NotTheSameError(
                f"The code differs: the release was made by revision {recorded}, this is {now}. Check that revision "
                "out, or try with this code all the same (ANY_CODE=1, --any-code)."
            )
        yield f"made by code revision {recorded}, trained again by {now}"
    elif recorded == "unknown" or "+" in recorded:
        yield f"code revision {recorded}: whether the code is the same cannot be known"


def _fell_back(candidate: Mapping[str, Any], kernel: str) -> str:
    """Say that the package was not computed as when it was released."""
    precision = candidate["serving"]["precision"]
    return (
        f"packed as {precision['chosen']}, as recorded, which needs {', '.join(precision['needs'])}: this processor "
        f"lacks it, so the new package was scored in {kernel} and asked the golden examples that are recorded for "
        "that; metrics differ by what bfloat16 rounds"
    )


def _train_and_pack(
    candidate: Mapping[str, Any], dataset: Mapping[str, Any], serving: Mapping[str, Any] | None, folder: Path
) -> Path:
    """Train from the recorded facts and pack the result as the release was packed."""
    from include.classifier.packaging.archive import build_archive
    from include.classifier.packaging.precision import TORCH_FLOAT32, variant
    from include.classifier.tracking import Tracker
    from include.classifier.training.fine_tuning import Training, train_on
    from include.classifier.training.stored_rows import training_rows

    recorded = candidate["training"]["parameters"] | {
        # What a branch or "newest" meant when the release was made.
        "base_model_revision": candidate["training"]["base_model_revision"]
    }
    # What else stands there was found and not chosen.
    settings = TrainingConfig(**{name: recorded[name] for name in TrainingConfig.model_fields if name in recorded})
    # In as many processes as the release had, it is the same training on one machine.
    settings = settings.on_one_node()
    if "in_memory_rows" not in recorded:  # before there was that setting, all rows were
        settings = settings.model_copy(update={"in_memory_rows": dataset["splits"]["train"]["rows"]})
    with training_rows(dataset, settings, beside=folder / "model") as rows:
        train_on(
            Training(
                rows=rows,
                labels=dataset["labels"],
                settings=settings,
                model_dir=folder / "model",
                tracker=Tracker(),
            )
        )
    model, version = candidate["model"], candidate["version"]
    target = folder / f"{model}.mar"
    recorded_precision = candidate["serving"].get("precision", {"chosen": TORCH_FLOAT32})
    build_archive(
        variant(recorded_precision, folder / "model", folder / "variant"),
        model=model,
        version=version,
        target=target,
        serving=serving,
    )
    return target


def _compare(candidate: Mapping[str, Any], dataset: Mapping[str, Any], archive: Path, folder: Path) -> dict[str, Any]:
    """Score the new package as the old one was scored, and ask it the golden examples."""
    import numpy as np

    from include.classifier.metrics import length_slices, scores
    from include.classifier.packaging.archive import open_archive
    from include.classifier.serving.predictor import Predictor

    predictor = Predictor.load(open_archive(archive, folder / "unpacked"))
    rows, labels = read_split(dataset, "evaluation"), dataset["labels"]
    probabilities = [[found.probabilities[label] for label in labels] for found in predictor.predict(rows.texts)]
    now = scores(
        np.asarray(rows.labels, dtype=np.int64),
        np.array(probabilities),
        labels=labels,
        slices=length_slices(rows.texts),
        version=None,
    )
    before = candidate["metrics"]["candidate"]
    # What is to be answered in 32-bit floats where this processor lacks what the package needs.
    golden = [
        example | example["computed_in"][predictor.computed_in] if predictor.computed_in else example
        for example in candidate["golden_examples"]
    ]
    answers = predictor.predict([example["text"] for example in golden])
    return {
        "computed_in": predictor.computed_in,
        "metrics": {
            name: {"recorded": before[name], "now": now[name], "difference": now[name] - before[name]}
            for name, *_ in MAIN_METRICS
        },
        "golden_examples": {
            "rows": len(golden),
            "other_labels": sum(
                answer.label != example["label"] for answer, example in zip(answers, golden, strict=True)
            ),
            # Recorded probabilities have six digits.
            "largest_difference": max(
                abs(round(answer.probabilities[label], 6) - value)
                for answer, example in zip(answers, golden, strict=True)
                for label, value in example["probabilities"].items()
            ),
        },
        "archive": _compare_archives(f"{candidate['archive']['uri']}/{candidate['archive']['file']}", archive),
    }


def _compare_archives(recorded_uri: str, archive: Path) -> dict[str, Any]:
    """Say which files of the new package are not those of the old one, byte by byte."""
    import fsspec

    try:
        with fsspec.open(recorded_uri, "rb") as file:
            before = _checksums(file)
    except FileNotFoundError:
        return {"found": False, "identical": False, "identical_weights": False, "other_files": []}
    with archive.open("rb") as file:
        now = _checksums(file)
    other = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return {
        "found": True,
        "identical": not other,
        "identical_weights": not any(name.endswith(_WEIGHTS) for name in other),
        "other_files": other,
    }


def _checksums(file: Any) -> dict[str, tuple[int, int]]:
    with zipfile.ZipFile(file) as archive:
        return {entry.filename: (entry.CRC, entry.file_size) for entry in archive.infolist()}


def _write(document: Mapping[str, Any], candidate_uri: str) -> None:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(as_uri(candidate_uri))
    content = json.dumps(document, indent=2, sort_keys=True) + "\n"
    filesystem.pipe_file(f"{path.rpartition('/')[0]}/{REPRODUCTION}", content.encode())


def table(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the outcome for people, line by line."""
    golden, archive = document["golden_examples"], document["archive"]
    yield f"{'':<28}{'recorded':>12}{'now':>12}{'difference':>12}"
    for name, values in document["metrics"].items():
        numbers = "".join(f"{values[key]:>12.6f}" for key in ("recorded", "now", "difference"))
        yield f"{name.replace('_', ' '):<28}{numbers}"
    yield f"{'golden probabilities':<28}{'':>24}{golden['largest_difference']:>12.6f}"
    yield f"{'golden labels':<28}{golden['rows']:>12}{golden['rows'] - golden['other_labels']:>12}"
    yield f"weights: {_of_weights(archive)}"
    if archive["other_files"]:
        yield f"files of the package that differ: {', '.join(archive['other_files'])}"
    yield from (f"note: {note}" for note in document["notes"])
    word = "reproduced" if document["reproduced"] else "NOT reproduced"
    yield f"{document['model']} {document['version']}: {word} within a tolerance of {document['tolerance']:g}"


def _of_weights(archive: Mapping[str, Any]) -> str:
    if not archive["found"]:
        return "not compared, the release's package is gone"
    return "bit-identical" if archive["identical_weights"] else "not the same bits"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m include.classifier.lookback.reproduce", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--candidate-uri", required=True, help="URI of the release's candidate.json")
    parser.add_argument("--archive-sha256", default="", help="digest of the package, as the registry has it")
    parser.add_argument("--serving", type=json.loads, help="section `serving` of the model's YAML, as JSON")
    parser.add_argument("--tolerance", type=float, default=DEFAULT_TOLERANCE, help="largest difference (%(default)s)")
    parser.add_argument("--any-code", action="store_true", help="train although the code is another")
    options = parser.parse_args(arguments)
    try:
        document = reproduce(
            options.candidate_uri,
            archive_sha256=options.archive_sha256,
            serving=options.serving,
            tolerance=options.tolerance,
            any_code=options.any_code,
        )
    except (NotTheSameError, DataError, DocumentError) as error:
        print(f"Not tried: {error}", file=sys.stderr)
        return 2
    print("", *table(document), sep="\n", flush=True)
    return 0 if document["reproduced"] else 1


if __name__ == "__main__":
    sys.exit(main())
