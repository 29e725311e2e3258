"""Compares the captured requests of a live version with what it was made of, and writes a report.

``python -m include.monitoring.drift --model NAME --version N --store-uri URI --settings JSON --as-of TIME``, with
``--candidate-uri URI`` for a text classifier, ``--live-since TIME`` and ``--least-accuracy NUMBER``.

Writes ``<store>/drift/<time>/report.html`` and then ``drift.json`` beside it. Ends with 0 whether there is drift or
not, with 2 when something is wrong that another try does not mend, and with 1 when it may. With 1 and 2 the last line
on stderr says why. No text of a request is ever printed or written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from include.classifier.data.moving.store_path import store_at
from include.classifier.data.problems import DataError, SourceUnavailableError
from include.classifier.data.sources import as_uri, write_whole
from include.classifier.packaging.archive import ArchiveError
from include.contracts.documents import DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring.captured import ReadingCounts
from include.contracts.monitoring.drift import DRIFT_FOLDER, REPORT_FILE, Agreement, DriftDocument, LiveAccuracy
from include.contracts.monitoring.drift_settings import DriftConfig
from include.contracts.monitoring.labels import join
from include.contracts.section import problems
from include.contracts.version.files import reason_of
from include.monitoring.accuracy import CONFIDENCE, accuracies
from include.monitoring.agreement import agreement, measured_of
from include.monitoring.columns import Row
from include.monitoring.comparison import Pairs, compare, pairs_of
from include.monitoring.page import make_page
from include.monitoring.reference import predicted_rows, training_rows
from include.monitoring.requests import Window, dump, first_requests, load, window_of

#: How far back requests are looked for whose labels have arrived.
_LABELLED_SINCE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared.

    :param version: the live version.
    :param store_uri: the model's folder in the model store.
    :param as_of: end of the window.
    :param live_since: requests before are those of another version, where they do not say of which they are.
    :param candidate_uri: of the version's ``candidate.json``, where it was made of a data set.
    :param least_accuracy: what the gate asks for; 0 for nothing.
    """

    model: str
    version: str
    store_uri: str
    settings: DriftConfig
    as_of: datetime
    live_since: datetime
    candidate_uri: str = ""
    least_accuracy: float = 0.0

    @property
    def is_against_training(self) -> bool:
        """Whether requests are compared with the data set."""
        chosen = self.settings.reference
        return chosen == "training" or (chosen == "auto" and bool(self.candidate_uri))


def look(question: Question) -> DriftDocument:
    """Compare, write the report and return what was found.

    :raises DataError: when what is to be compared with is not there.
    """
    store, settings, counts = store_at(question.store_uri), question.settings, ReadingCounts()
    first = max(question.as_of - timedelta(hours=settings.window_hours), question.live_since)
    references: list[Sequence[Row]] | None
    if question.is_against_training:
        candidate = _candidate(question)
        references = [training_rows(candidate), predicted_rows(candidate)]
    else:
        kept = _first_requests(question, store)
        references = [kept.rows] if kept else None
        if kept and kept.last:
            first = max(first, kept.last + timedelta(milliseconds=1))
    window = window_of(store, question.version, first=first, last=question.as_of, counts=counts)
    why_not = _why_not(window, settings, has_reference=references is not None)
    pairs: Pairs = {} if why_not or references is None else pairs_of(references, window.rows)
    labels = ReadingCounts()  # of the same files: what is broken there was counted
    joined = join(store, first=question.as_of - _LABELLED_SINCE, last=question.as_of, counts=labels)
    accuracy = accuracies(joined, min_labels=settings.min_labels, live=question.version)
    high = next((each.high for each in accuracy if each.version == question.version and not each.slice), 1.0)
    folder = f"{as_uri(question.store_uri)}/{DRIFT_FOLDER}/{question.as_of:%Y%m%d%H%M%S}"
    found = DriftDocument(
        schema_version=1,
        model=question.model,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=question.version,
        reference="training" if question.is_against_training else "first_requests",
        first=first.isoformat(timespec="seconds"),
        last=question.as_of.isoformat(timespec="seconds"),
        requests=window.requests,
        rows=len(window.rows),
        broken_lines=counts.broken_lines + counts.broken_files,
        is_enough=not why_not,
        why_not=why_not,
        features=compare(pairs, settings),
        confidence=CONFIDENCE,
        accuracy=accuracy,
        least_accuracy=question.least_accuracy,
        is_below_gate=high < question.least_accuracy,
        agreement=_agreement(question, accuracy) if question.candidate_uri else None,
        unmatched_labels=joined.unmatched,
        report_uri=f"{folder}/{REPORT_FILE}",
    )
    write_whole(found.report_uri, make_page(found, pairs, settings))
    write_whole(f"{folder}/{DriftDocument.file}", DriftDocument.dump(found.model_dump(), where=folder))
    _delete_old(question)
    return found


def _agreement(question: Question, accuracy: Sequence[LiveAccuracy]) -> Agreement:
    measured = measured_of(question.store_uri, [each.version for each in accuracy if not each.slice])
    return agreement(accuracy, measured, live=question.version, tolerated=question.settings.tolerated_accuracy_loss)


def _why_not(window: Window, settings: DriftConfig, *, has_reference: bool) -> str:
    if not has_reference:
        return f"this version has not answered {settings.reference_requests:,} captured requests yet, to compare with"
    if window.requests < settings.min_requests:
        return f"{window.requests:,} captured requests, drift.min_requests asks for {settings.min_requests:,}"
    return ""


def _candidate(question: Question) -> TextClassifierCandidate:
    import fsspec

    uri = question.candidate_uri
    if not uri:
        raise DataError(f"{question.model} has no data set that is known: set drift.reference: first_requests.")
    try:
        with fsspec.open(as_uri(uri), "rb") as file:
            return TextClassifierCandidate.parse(file.read().decode("utf-8"), where=uri)
    except FileNotFoundError:
        raise DataError(
            f"{uri}: not found. Retention may have deleted it; set drift.reference: first_requests."
        ) from None


def _first_requests(question: Question, store: Any) -> Window | None:
    """Return the first requests of the version; once there are enough, they are kept for all later runs."""
    import fsspec

    uri = f"{as_uri(question.store_uri)}/{DRIFT_FOLDER}/first-requests/{question.version}.json"
    size = question.settings.reference_requests
    try:
        with fsspec.open(uri, "rb") as file:
            kept = load(file.read().decode("utf-8"))
        if kept.requests == size:
            return kept
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError):
        print(f"{uri} cannot be read, and is made anew of the requests that are still there.", flush=True)
    counts = ReadingCounts()
    found = first_requests(
        store, question.version, size=size, first=question.live_since, last=question.as_of, counts=counts
    )
    if found:
        write_whole(uri, dump(found))
    return found


def _delete_old(question: Question) -> None:
    """Leave the newest reports: a folder's name is its time."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(f"{as_uri(question.store_uri)}/{DRIFT_FOLDER}")
    names = sorted(each.rstrip("/").rpartition("/")[2] for each in filesystem.ls(path, detail=False))
    reports = [name for name in names if len(name) == 14 and name.isascii() and name.isdecimal()]
    for name in reports[: -question.settings.keep_reports]:
        filesystem.rm(f"{path}/{name}", recursive=True)


def _say(found: DriftDocument) -> None:
    print(f"{found.model} {found.version}: {found.requests:,} captured requests, {found.first} to {found.last}.")
    if not found.is_enough:
        print(f"Nothing can be said of drift: {found.why_not}.")
    for each in found.features:
        word = "DRIFT" if each.is_drift else "-"
        print(f"  {word:<5} {each.distance:.3f} p={each.p_value:.2g} {each.name}: {each.reference} -> {each.requests}")
    if live := found.of_live():
        print(f"Accuracy of {live.rows:,} labelled rows: {live.low:.4f} to {live.high:.4f}.")
    if found.agreement and found.agreement.low is not None:
        told = found.agreement
        print(f"Measured and by labels: correlation {told.correlation:+.2f}, {told.low:+.2f} to {told.high:+.2f}.")
    print(f"Report: {found.report_uri}", flush=True)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m include.monitoring.drift", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--version", required=True, help="the live version")
    parser.add_argument("--store-uri", required=True, help="the model's folder in the model store")
    parser.add_argument("--settings", required=True, help="the section `drift` of the model's YAML as JSON")
    parser.add_argument("--as-of", required=True, type=_moment, help="end of the window, ISO 8601")
    parser.add_argument("--live-since", type=_moment, help="when the version went live (the time in its number)")
    parser.add_argument("--candidate-uri", default="", help="of its candidate.json, of a text classifier")
    parser.add_argument("--least-accuracy", type=float, default=0.0, help="what the gate asks for (nothing)")
    return parser.parse_args(arguments)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    options = _parse_arguments(arguments)
    try:
        question = Question(
            model=options.model,
            version=options.version,
            store_uri=options.store_uri,
            settings=DriftConfig.model_validate_json(options.settings),
            as_of=options.as_of,
            live_since=options.live_since or datetime.strptime(options.version, "%Y%m%d%H%M%S").replace(tzinfo=UTC),
            candidate_uri=options.candidate_uri,
            least_accuracy=options.least_accuracy,
        )
        _say(look(question))
    except ValidationError as error:
        print(f"--settings is not valid: {problems(error, 'drift')}.", file=sys.stderr)
        return 2
    except (DataError, DocumentError, ArchiveError) as error:
        print(error, file=sys.stderr)
        return 2
    except PermissionError as error:
        print(reason_of(error), file=sys.stderr)
        return 2
    except (SourceUnavailableError, OSError) as error:
        print(f"Reading or writing failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
