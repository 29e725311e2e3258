"""Draws what an older model loses on newer data: versions that are kept answer the newest evaluation rows.

``python -m include.classifier.lookback.staleness --model NAME --versions JSON --rows-uri URI --output-uri URI``.

Nothing of registry or serving is touched, and nothing is trained. Rows that one of the versions was trained on are left
out: they would make it look younger than it is. Writes ``report.html``, ``curve.svg``, ``staleness.json`` and one more
entry of ``history.json``. Ends with 0 when they are written, with 1 when another try may help, and with 2 when data or
versions do not allow it; the reason last on stderr. No text is printed or written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.classifier.data.dataset import read_dataset, read_split, split_batches
from include.classifier.data.problems import DataError
from include.classifier.data.sources import as_uri, write_whole
from include.classifier.evaluation.intervals import macro_f1_interval, wilson
from include.classifier.evaluation.paired_statistics import differences
from include.classifier.metrics import Classes, accuracy, confusion_matrix, macro_f1
from include.classifier.progress import report
from include.classifier.report.age_curve import make_page
from include.contracts.documents import DocumentError
from include.contracts.version.numbers import release_time

#: With fewer rows that no version was trained on there is nothing to see.
LEAST_ROWS = 50

#: The tail of an interval that holds for several versions at once is thin: more draws than for one.
RESAMPLES = 10_000

_HISTORY = "history.json"
_MOST_ENTRIES = 500


class KeptVersion(NamedTuple):
    """A version whose files are still there."""

    version: str
    archive_uri: str
    archive_sha256: str = ""
    dataset_uri: str = ""

    @property
    def time(self) -> datetime:
        """When its release was asked for."""
        return release_time(self.version)


def staleness(
    model: str, versions: Sequence[KeptVersion], *, rows_uri: str, output_uri: str, confidence: float = 0.95
) -> dict[str, Any]:
    """Score the versions, draw the curve, write it, and return the content of ``staleness.json``.

    :param versions: in any order; the newest that can be scored is what the others are compared with.
    :param rows_uri: of the newest ``dataset.json``, whose evaluation rows are answered.
    :param output_uri: folder for the files; those of the last time are replaced.
    :param confidence: of the interval of each figure, and of all differences together.
    :raises DataError: when rows or versions are too few.
    """
    dataset = read_dataset(rows_uri)
    rows, labels = read_split(dataset, "evaluation"), dataset["labels"]
    notes: list[str] = []
    unseen = ~_trained_on(rows.texts, versions, notes)
    if unseen.sum() < LEAST_ROWS:
        raise DataError(
            f"{rows_uri}: {int(unseen.sum()):,} of {len(unseen):,} evaluation rows took part in no training of "
            f"{model}'s versions, {LEAST_ROWS} are needed. Give newer evaluation rows, or rows of their own "
            "(`data.evaluation`)."
        )
    texts = [text for text, is_unseen in zip(rows.texts, unseen, strict=True) if is_unseen]
    truth = np.asarray(rows.labels, dtype=np.int64)[unseen]
    answers: dict[str, Classes] = {}
    for each in sorted(versions, reverse=True):
        found = _answers(each, model, texts, labels)
        if isinstance(found, str):
            notes.append(found)
        else:
            answers[each.version] = found
    if len(answers) < 2:
        raise DataError(
            f"{model}: {'; '.join(notes) or 'fewer than two versions'}. An age needs two versions at least."
        )
    points = curve(truth, answers, n_classes=len(labels), confidence=confidence)
    document = {
        "schema_version": 1,
        "model": model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": {
            "dataset_uri": rows_uri,
            "dataset_sha256": dataset["sha256"],
            "rows": len(truth),
            "trained_on": int((~unseen).sum()),
        },
        "confidence": confidence,
        "points": points,
        "stale_after_days": stale_after(points),
        "notes": notes,
    }
    _write(document, as_uri(output_uri))
    return document


def curve(
    truth: Classes,
    answers: Mapping[str, Classes],
    *,
    n_classes: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """Return a point for each version, the newest first: its age, its figures, and what it loses on the same rows.

    Several versions are compared with the newest: the intervals of the differences hold for all of them together
    (Bonferroni), so that of many versions that are as good one is seldom said to be worse.

    :param truth: class indices, shape ``(n_rows,)``.
    :param answers: version -> predicted classes, the same shape; at least two.
    """
    newest = max(answers)
    shared = 1 - (1 - confidence) / (len(answers) - 1)
    points = []
    for version in sorted(answers, reverse=True):
        predicted = answers[version]
        matrix = confusion_matrix(truth, predicted, n_classes)
        shares = wilson(np.trace(matrix), len(truth), confidence)
        point: dict[str, Any] = {
            "version": version,
            "age_days": (release_time(newest) - release_time(version)).total_seconds() / 86_400,
            "macro_f1": macro_f1(matrix),
            "macro_f1_interval": macro_f1_interval(
                truth, predicted, n_classes=n_classes, confidence=confidence, resamples=resamples
            )._asdict(),
            "accuracy": accuracy(matrix),
            "accuracy_interval": {"low": float(shares.low), "high": float(shares.high)},
            "difference": None,
            "is_worse": False,
        }
        if version != newest:
            change = differences(
                truth, predicted, answers[newest], n_classes=n_classes, confidence=shared, resamples=resamples
            ).macro_f1
            point |= {"difference": change._asdict(), "is_worse": change.high < 0}
        points.append(point)
    return points


def stale_after(points: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the age in days of the youngest version that is shown to be worse, ``None`` where none is."""
    return min((point["age_days"] for point in points if point["is_worse"]), default=None)


def _trained_on(texts: Sequence[str], versions: Sequence[KeptVersion], notes: list[str]) -> NDArray[np.bool_]:
    """Return which texts one of the versions was trained on, bool, shape (rows,)."""
    wanted = {text: row for row, text in enumerate(texts)}  # preprocessing leaves each text once
    found = np.zeros(len(texts), dtype=bool)
    for uri in sorted({version.dataset_uri for version in versions if version.dataset_uri}):
        rows: list[int] = []
        try:
            for batch in split_batches(read_dataset(uri), "train"):
                rows += (wanted[text] for text in batch.column("text").to_pylist() if text in wanted)
        except (DataError, DocumentError, FileNotFoundError):
            notes.append(f"what was trained on {uri} cannot be known any more, and may be among the rows")
            continue
        found[rows] = True
    return found


def _answers(kept: KeptVersion, model: str, texts: Sequence[str], labels: Sequence[str]) -> Classes | str:
    """Return the classes that a version predicts, or why it cannot be asked."""
    from include.classifier.evaluation.scoring import Packed
    from include.classifier.packaging.archive import ArchiveError

    try:
        packed = Packed.read(kept.archive_uri, model, sha256=kept.archive_sha256 or None)
    except (ArchiveError, FileNotFoundError, ValueError) as error:
        return f"{kept.version} cannot be read ({type(error).__name__})"
    if set(packed.predictor.labels) != set(labels):
        return f"{kept.version} has other labels"
    report(f"staleness: {kept.version} answers {len(texts):,} rows")
    return packed.probabilities(texts, labels).argmax(axis=1)


def _write(document: Mapping[str, Any], output_uri: str) -> None:
    """Write page, picture and figures, the figures last."""
    page, picture = make_page(document)
    write_whole(f"{output_uri}/curve.svg", picture)
    write_whole(f"{output_uri}/report.html", page)
    entry = {name: document[name] for name in ("created_at", "rows", "points", "stale_after_days")}
    before = [each for each in _history(output_uri) if _asked(each) != _asked(entry)]
    write_whole(f"{output_uri}/{_HISTORY}", json.dumps([*before, entry][-_MOST_ENTRIES:], sort_keys=True) + "\n")
    write_whole(f"{output_uri}/staleness.json", json.dumps(document, indent=2, sort_keys=True) + "\n")


def _asked(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells one measurement from another: its rows and its versions."""
    return (str(entry["rows"]["dataset_sha256"]), *(str(point["version"]) for point in entry["points"]))


def _history(output_uri: str) -> list[dict[str, Any]]:
    import fsspec

    try:
        with fsspec.open(f"{output_uri}/{_HISTORY}", "rb") as file:
            found = json.loads(file.read())
        list(map(_asked, found))
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError):
        report(f"staleness: {output_uri}/{_HISTORY} cannot be read, and is begun anew")
        return []
    return list(found)


def table(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the outcome for people, line by line."""
    yield f"{'version':<16}{'days older':>11}{'macro F1':>10}  {'interval':<18}{'difference':>11}  interval"
    for point in document["points"]:
        bounds, change = point["macro_f1_interval"], point["difference"]
        line = f"{point['version']:<16}{point['age_days']:>11.1f}{point['macro_f1']:>10.4f}"
        line += f"  {bounds['low']:.4f} to {bounds['high']:.4f}  "
        if change:
            line += f"{change['difference']:>+11.4f}  {change['low']:+.4f} to {change['high']:+.4f}"
        yield line.rstrip() + ("  worse" if point["is_worse"] else "")
    rows = document["rows"]
    yield f"{rows['rows']:,} rows; {rows['trained_on']:,} that a version was trained on are left out"
    yield from (f"note: {note}" for note in document["notes"])
    days = document["stale_after_days"]
    word = "no version is shown to be worse" if days is None else f"shown to be worse from {days:.1f} days on"
    yield f"{document['model']}: {word}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m include.classifier.lookback.staleness", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument(
        "--versions",
        required=True,
        type=json.loads,
        help="JSON array: version, archive_uri, archive_sha256, dataset_uri",
    )
    parser.add_argument("--rows-uri", required=True, help="URI of the dataset.json whose evaluation rows are answered")
    parser.add_argument("--output-uri", required=True, help="URI of the folder to write to")
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        document = staleness(
            options.model,
            [KeptVersion(**version) for version in options.versions],
            rows_uri=options.rows_uri,
            output_uri=options.output_uri,
            confidence=options.confidence,
        )
    except (DataError, DocumentError, TypeError) as error:
        print(f"Not measured: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Reading or writing failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    print(*table(document), f"report: {as_uri(options.output_uri)}/report.html", sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
