"""The steps of the batch prediction as plain functions; the components of include/pipelines only call them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from include.classifier.batch.model import Loader, loader
from include.classifier.batch.output import Output
from include.classifier.batch.planning import make_plan, reading_digest
from include.classifier.batch.scoring import score_shard
from include.classifier.data.problems import DataError
from include.classifier.progress import duration, report
from include.contracts.batch.documents import Plan, Predictions, Receipt
from include.contracts.section import problems
from include.contracts.settings import DataConfig
from include.contracts.version.files import permissions_explained

#: Seconds between two lines on how far it is.
_PAUSE_SECONDS = 10.0


@permissions_explained()
def plan_step(
    *,
    data_uri: str,
    output_uri: str,
    model_name: str,
    model_version: str,
    archive_sha256: str,
    reading: Mapping[str, Any],
    allowed_sources: Sequence[str],
    allowed_outputs: Sequence[str],
    shard_rows: int,
    workers: int,
) -> list[str]:
    """Write ``plan.json``, or carry on the one that is there, and return the numbers of the workers.

    :param reading: the section ``data`` of the model's YAML, with the columns that hold the text here.
    :param allowed_sources: what the input may be; ``["*"]``: anything.
    :param allowed_outputs: where may be written; ``["*"]``: anywhere.
    """
    output = Output(output_uri)
    output.check(allowed_outputs, data_uri=data_uri)
    plan = make_plan(
        _settings(reading, data_uri),
        output=output,
        model=model_name,
        version=model_version,
        archive_sha256=archive_sha256,
        allowed_sources=allowed_sources,
        shard_rows=int(shard_rows),
    )
    workers = max(1, min(int(workers), len(plan.shards)))
    report(
        f"plan: {plan.rows:,} rows of {len(plan.files):,} files in {len(plan.shards):,} shards, for {workers} workers; "
        f"{plan.unreadable:,} lines are no rows"
    )
    return [str(number) for number in range(workers)]


@permissions_explained()
def score_step(
    *,
    worker: int,
    workers: int,
    output_uri: str,
    archive_uri: str,
    archive_sha256: str,
    reading: Mapping[str, Any],
    allowed_sources: Sequence[str],
    load: Loader | None = None,
) -> None:
    """Score the shards of one worker that are not done yet.

    :param worker: number of this one, from 0.
    :param workers: how many there are at most; with fewer shards there are fewer.
    :param archive_sha256: that it must have, and the plan must name.
    :param load: returns a context with the model; default: that of the archive.
    """
    output = Output(output_uri)
    plan = _plan(output)
    if plan.archive_sha256 != archive_sha256:
        raise DataError(f"{output.name}: the plan is for another archive than {archive_sha256}. Start it again.")
    data = _settings(reading, plan.data_uri)
    if reading_digest(data) != plan.reading_sha256:
        raise DataError(f"{output.name}: the plan was made with other settings of how rows are read. Start it again.")
    workers = max(1, min(workers, len(plan.shards)))
    mine = range(worker, len(plan.shards), workers)
    left = [index for index in mine if output.receipt(index, plan) is None]
    rows = sum(plan.shards[index].rows for index in left)
    report(f"predict: {len(mine) - len(left):,} of {len(mine):,} shards are done already; {rows:,} rows are left")
    if not left:
        return
    with (load or loader(archive_uri, workers=workers))(plan) as scorer:
        progress = Progress(rows, f"predict {worker + 1}/{workers}" if workers > 1 else "predict")
        for index in left:
            score_shard(index, plan, data, scorer, output, allowed_sources=allowed_sources, tell=progress.add)
        progress.end()


@permissions_explained()
def finish_step(*, output_uri: str) -> Predictions:
    """Add up what the shards say, check that every row is in one of them, and write ``predictions.json``.

    :raises DataError: when a shard is missing or its files were changed.
    """
    output = Output(output_uri)
    plan = _plan(output)
    receipts = [output.receipt(index, plan) for index in range(len(plan.shards))]
    if missing := [index for index, receipt in enumerate(receipts) if receipt is None]:
        raise DataError(
            f"{output.name}: {len(missing):,} of {len(receipts):,} shards are not there or were changed (the first is "
            f"{missing[0]}). Start it again: it scores these, and no others."
        )
    found = _added_up([receipt for receipt in receipts if receipt], plan)
    if found.rows != plan.rows + plan.unreadable:
        raise DataError(
            f"{output.name}: the shards have {found.rows:,} rows, and the plan {plan.rows + plan.unreadable:,}. "
            "Predict into a new folder."
        )
    before = output.predictions()
    if before is None or before.plan_sha256 != plan.sha256:
        output.write(found)
    output.succeed()
    reasons = "; ".join(f"{count:,}: {reason}" for reason, count in found.reasons.items())
    report(
        f"finish: {found.predicted:,} of {found.rows:,} rows have a prediction by version {found.version}, "
        f"{found.rejected:,} were rejected{f' ({reasons})' if reasons else ''}; see {output.name}/{Predictions.file}"
    )
    return found


class Progress:
    """Says how far a worker is, every ten seconds, and what time is left at the pace so far.

    :param rows: that are to be scored.
    :param clock: seconds.
    """

    def __init__(self, rows: int, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._what, self._clock = rows, what, clock
        self._done = 0
        self._began = self._told = clock()

    def add(self, rows: int) -> None:
        """Count rows that were scored or rejected."""
        self._done += rows
        now = self._clock()
        if now - self._told >= _PAUSE_SECONDS:
            self._told = now
            pace = self._done / (now - self._began)
            left = duration((self._rows - self._done) / pace) if pace else "unknown"
            report(f"{self._what}: {self._done:,} of {self._rows:,} rows, {pace:,.0f} a second, {left} left")

    def end(self) -> None:
        """Say how it went."""
        seconds = self._clock() - self._began
        pace = f", {self._done / seconds:,.0f} a second" if seconds else ""
        report(f"{self._what}: {self._done:,} rows in {duration(seconds)}{pace}")


def _added_up(receipts: Sequence[Receipt], plan: Plan) -> Predictions:
    reasons, labels = Counter[str](), Counter[str]()
    for receipt in receipts:
        reasons.update(receipt.reasons)
        labels.update(receipt.label_counts)
    predicted, rejected = sum(each.predicted.rows for each in receipts), sum(reasons.values())
    return Predictions(
        schema_version=1,
        model=plan.model,
        version=plan.version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        archive_sha256=plan.archive_sha256,
        plan_sha256=plan.sha256,
        data_uri=plan.data_uri,
        rows=predicted + rejected,
        predicted=predicted,
        rejected=rejected,
        reasons=dict(sorted(reasons.items())),
        truncated=sum(each.truncated for each in receipts),
        label_counts=dict(sorted(labels.items())),
        seconds=round(sum(each.seconds for each in receipts), 3),
        files=[each.predicted for each in receipts],
        rejected_files=[each.rejected for each in receipts if each.rejected],
    )


def _plan(output: Output) -> Plan:
    if plan := output.plan():
        return plan
    raise DataError(f"{output.name}: holds no {Plan.file}. Start the prediction again.")


def _settings(reading: Mapping[str, Any], data_uri: str) -> DataConfig:
    try:
        return DataConfig.model_validate(
            {**reading, "train": [data_uri], "evaluation": [], "last": None, "date_column": None}
        )
    except ValidationError as error:
        raise DataError(f"The settings of how rows are read are wrong: {problems(error, 'data')}.") from None
