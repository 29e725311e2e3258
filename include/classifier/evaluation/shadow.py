"""What a packed model answers to captured requests, compared with what the live version has answered to them.

Nobody knows which of the two is right. What is told is how many users would get another answer, of what kind, and how
sure that is. No text is in what is told, and none is printed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from include.classifier.data.moving.store_path import store_at
from include.classifier.evaluation.intervals import wilson
from include.classifier.progress import report
from include.classifier.serving.predictor import Prediction
from include.contracts.monitoring.captured import CapturedRequest, CapturedRow, ReadingCounts
from include.contracts.monitoring.features import features_of
from include.contracts.monitoring.labels import label_of
from include.contracts.monitoring.newest import Newest, newest_requests
from include.contracts.monitoring.shadow import (
    ID_DIGITS,
    MOST_LABEL_CHANGES,
    MOST_REQUESTS,
    MOST_SLICES,
    ChangedShare,
    LabelChange,
    MovedRow,
    Shadow,
    ShadowSlice,
)
from include.contracts.monitoring.shadow_settings import Replay

#: Rows that are answered, of one request and of all together; what is beyond is left out.
MOST_ROWS_OF_A_REQUEST = 100
MOST_ROWS = 10_000

#: A slice with fewer requests tells nothing.
FEWEST_REQUESTS = 20

#: Lengths in characters at which a slice of texts ends.
_LENGTHS = (100, 400)

Predict = Callable[[Sequence[str]], Sequence[Prediction]]


class Asked(NamedTuple):
    """A row of a captured request, and what the live version has answered to it.

    :param request: its number: clients may give two requests the same id.
    :param row: of the request, from 0.
    :param confidence: probability of the label; ``None`` where the answer had none.
    """

    request: int
    request_id: str
    row: int
    text: str
    label: str
    confidence: float | None


@dataclass(frozen=True)
class Answered:
    """A row with both answers.

    :param share: of its request: rows of one are no independent observations, so a request counts once.
    :param change: of the probability of the live version's label.
    """

    asked: Asked
    label: str
    change: float
    share: float

    @property
    def has_changed(self) -> bool:
        """Whether users would get another label."""
        return self.label != self.asked.label


def replay(
    predict: Predict, asked: Replay, *, confidence: float, now: datetime | None = None, most_rows: int = MOST_ROWS
) -> dict[str, Any]:
    """Answer the newest captured requests of the live version, and return section ``shadow`` of ``candidate.json``.

    That requests cannot be read is no reason to lose a model that has been trained: the section says so.

    :param predict: of the packed model.
    :param confidence: of every interval, between 0 and 1.
    :param now: end of the days that are looked at; default: now.
    """
    counts, now = ReadingCounts(), now or datetime.now(UTC)
    found, why_not = Newest(), ""
    try:
        found = newest_requests(
            store_at(asked.store_uri),
            asked.live_version,
            most=asked.requests,
            back_days=asked.days,
            now=now,
            can_be_asked=lambda request: any(isinstance(row.input, str) for row in request.rows),
            has_answer=lambda request: any(map(_can_be_compared, request.rows)),
            counts=counts,
        )
    except OSError as error:
        why_not = f"captured requests cannot be read ({type(error).__name__})"
    rows, requests = _rows_of(found.requests, most_rows)
    answers = _both_answers(rows, predict)
    section = Shadow(
        live_version=asked.live_version,
        asked_for=asked.requests,
        days=asked.days,
        confidence=confidence,
        requests=len(requests),
        rows=len(rows),
        first=requests[-1].at if requests else "",
        last=requests[0].at if requests else "",
        other_versions=found.other_versions,
        without_texts=found.without_inputs,
        without_answers=found.without_answers,
        broken_lines=counts.broken_lines + counts.broken_files,
        is_cut=found.is_cut or len(requests) < len(found.requests),
        **(_compared(answers, confidence) if answers else {"why_not": why_not or _why_not(asked, found)}),
    )
    report(f"evaluate: {in_words(section)}")
    return section.model_dump()


def in_words(found: Shadow) -> str:
    """Return what was found as a line of the log."""
    if found.changed is None:
        return f"no captured request was answered again: {found.why_not}"
    changed = found.changed
    others = f"; {found.without_texts:,} others have no text" if found.without_texts else ""
    return (
        f"{found.requests:,} captured requests answered again: {changed.share:.4f} of them get another label than from "
        f"{found.live_version} ({100 * found.confidence:g} % interval {changed.low:.4f} to {changed.high:.4f}){others}"
    )


def _can_be_compared(row: CapturedRow) -> bool:
    return isinstance(row.input, str) and isinstance(row.output, str) and label_of(row.output) is not None


def _why_not(asked: Replay, found: Newest) -> str:
    if found.without_inputs:
        return (
            f"of {found.without_inputs:,} requests that {asked.live_version} has answered no text was kept; set "
            "capture.texts: keep"
        )
    if found.without_answers:
        return f"{found.without_answers:,} answers of {asked.live_version} have no label"
    days = f"the last {asked.days} days" if asked.days > 1 else "the last day"
    return f"none that {asked.live_version} has answered was captured in {days}"


def _rows_of(requests: Sequence[CapturedRequest], most: int) -> tuple[list[Asked], list[CapturedRequest]]:
    """Return the rows that can be compared, and the requests that they are of; the newest, so many at most."""
    rows: list[Asked] = []
    taken: list[CapturedRequest] = []
    for request in requests:
        own = [
            Asked(len(taken), request.id, number, str(row.input), str(row.output), row.confidence)
            for number, row in enumerate(request.rows[:MOST_ROWS_OF_A_REQUEST])
            if _can_be_compared(row)
        ]
        if len(rows) + len(own) > most:
            break
        if own:
            rows += own
            taken.append(request)
    return rows, taken


def _both_answers(rows: Sequence[Asked], predict: Predict) -> list[Answered]:
    if not rows:
        return []
    number = Counter(row.request for row in rows)
    return [
        Answered(
            row,
            prediction.label,
            0.0 if row.confidence is None else _within(prediction.probabilities.get(row.label, 0.0) - row.confidence),
            1 / number[row.request],
        )
        for row, prediction in zip(rows, predict([row.text for row in rows]), strict=True)
    ]


def _compared(answers: Sequence[Answered], confidence: float) -> dict[str, Any]:
    changed = [answer for answer in answers if answer.has_changed]
    moved = sorted(answers, key=lambda each: (-abs(each.change), each.asked.request, each.asked.row))
    labels = Counter((answer.asked.label, answer.label) for answer in changed)
    requests = sum(answer.share for answer in answers)
    return {
        "changed": _share(answers, confidence),
        "changed_rows": len(changed),
        "mean_probability_change": sum(abs(each.change) * each.share for each in answers) / requests,
        "labels": [
            LabelChange(live=live, candidate=candidate, rows=rows)
            for (live, candidate), rows in sorted(labels.items(), key=lambda item: (-item[1], item[0]))[
                :MOST_LABEL_CHANGES
            ]
        ],
        "slices": list(_slices(answers, confidence)),
        "moved": [_moved(answer) for answer in moved[:MOST_REQUESTS] if answer.change or answer.has_changed],
    }


def _share(answers: Sequence[Answered], confidence: float) -> ChangedShare:
    """Return the share of requests with another label. Rows of one request together count once.

    Where a request has several rows its part is a number between 0 and 1, which varies less than yes and no do, so that
    Wilson's interval is too wide rather than too narrow.
    """
    requests = sum(answer.share for answer in answers)
    hits = sum(answer.share for answer in answers if answer.has_changed)
    bounds = wilson([hits], [requests], confidence)
    return ChangedShare(share=min(1.0, hits / requests), low=float(bounds.low[0]), high=float(bounds.high[0]))


def _slices(answers: Sequence[Answered], confidence: float) -> Iterator[ShadowSlice]:
    """Yield the slices with enough requests, the one that has changed most for sure first."""
    parts: Mapping[str, list[Answered]] = defaultdict(list)
    for answer in answers:
        for name in _names(answer.asked.text):
            parts[name].append(answer)
    found = []
    for name, members in parts.items():
        number = Counter(member.asked.request for member in members)
        if len(number) >= FEWEST_REQUESTS:
            own = [
                Answered(member.asked, member.label, member.change, 1 / number[member.asked.request])
                for member in members
            ]
            found.append(ShadowSlice(name=name, requests=len(number), changed=_share(own, confidence)))
    yield from sorted(found, key=lambda each: (-each.changed.low, -each.changed.share, each.name))[:MOST_SLICES]


def _names(text: str) -> Iterator[str]:
    """Yield what a text is called by its length and its script."""
    features = features_of(text)
    length = int(features["characters"])
    yield next((f"up to {end} characters" for end in _LENGTHS if length <= end), f"over {_LENGTHS[-1]} characters")
    yield f"script {features['script']}"


def _moved(answer: Answered) -> MovedRow:
    asked = answer.asked
    return MovedRow(
        id_sha256=hashlib.sha256(asked.request_id.encode()).hexdigest()[:ID_DIGITS],
        row=asked.row,
        live=asked.label,
        candidate=answer.label,
        probability_change=answer.change,
    )


def _within(change: float) -> float:
    return min(1.0, max(-1.0, change))
