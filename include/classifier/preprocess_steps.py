"""Preprocessing as pipeline steps: plan, read the parts side by side, merge; for :mod:`include.pipelines.preprocess`.

The data set is that of :func:`include.classifier.preprocess.preprocess`, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from include.classifier.data.moving.labelled_requests import FILE, labelled_requests
from include.classifier.data.parts.documents import PartsPlan, PlannedSource
from include.classifier.data.parts.merging import merged_rows
from include.classifier.data.parts.store import PartsFolder
from include.classifier.data.parts.writing import write_part
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source, as_uri
from include.classifier.preprocess import Found, find_sources, write_kept
from include.classifier.progress import report
from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.section import problems as places
from include.contracts.settings import DataConfig
from include.contracts.version.files import permissions_explained


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a data set is asked for with, as the command line of preprocessing takes it; the same for all steps.

    :param data: section ``data`` of a model's YAML, as JSON: a pipeline's own objects know no whole numbers.
    :param output_uri: folder of the data set.
    :param allowed_sources: what the sources may be where a form has named them, as JSON; ``["*"]``: anything.
    :param as_of: when the release was asked for, ISO 8601; empty: when the plan is made.
    :param timezone: whose days they are, an IANA name.
    :param queries_uri: folder with the rows of queries; empty: nobody has run any.
    :param requests_uri: folder of the model, whose captured requests with labels are trained on; empty: none are.
    """

    data: str
    output_uri: str
    allowed_sources: str = '["*"]'
    as_of: str = ""
    timezone: str = "UTC"
    queries_uri: str = ""
    requests_uri: str = ""

    @property
    def settings(self) -> DataConfig:
        """The section as it is checked.

        :raises DataError: when it is wrong.
        """
        try:
            return DataConfig.model_validate_json(self.data)
        except ValidationError as error:
            raise DataError(f"The settings of the data are wrong: {places(error, 'data')}.") from None

    @property
    def sha256(self) -> str:
        """Digest of what decides which sources there are and how they are read."""
        asked = [self.settings.model_dump(mode="json"), self.allowed_sources, self.timezone, self.queries_uri]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def find(self, problems: Problems, *, as_of: str) -> Found:
        """Find the files of the sources."""
        return find_sources(
            self.settings,
            problems,
            output_uri=self.output_uri,
            allowed_sources=json.loads(self.allowed_sources),
            as_of=datetime.fromisoformat(as_of),
            timezone=self.timezone,
            queries_uri=self.queries_uri or None,
            with_requests=bool(self.requests_uri),
        )


@permissions_explained()
def plan_step(request: Request, *, parts: int) -> list[str]:
    """Write down what is read, and return the numbers of the parts.

    :param parts: how many there are at most; with fewer files there are fewer.
    :raises DataError: when the settings are wrong.
    :raises SourceUnavailableError: when a store does not say what it holds.
    """
    data = request.settings
    as_of = request.as_of or datetime.now(UTC).isoformat()
    found = request.find(Problems(), as_of=as_of)
    if request.requests_uri:
        found = found.with_labelled(labelled_requests(request.requests_uri, request.output_uri, data))
    count = max(1, min(parts, len(found.sources)))
    plan = PartsPlan(
        id=str(uuid4()),
        settings_sha256=request.sha256,
        as_of=as_of,
        labelled=found.labelled is not None,
        sources=_planned(found.sources),
        ends=[len(found.sources) * (part + 1) // count for part in range(count)],
    )
    PartsFolder(request.output_uri).write_plan(plan)
    report(f"plan: {len(found.sources):,} files are read in {count:,} parts")
    return [str(part) for part in range(count)]


@permissions_explained()
def read_step(request: Request, *, part: int) -> None:
    """Read the files of one part, unless an earlier try has done it.

    :raises DataError: when the files are not those of the plan.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    folder = PartsFolder(request.output_uri)
    plan = folder.plan()
    if folder.part(part, plan):
        report(f"read: part {part} was read before")
        return
    found = _as_planned(request, plan, Problems())
    sources = [found.sources[number] for number in plan.span(part)]
    written = write_part(part, plan, sources, request.settings, folder, found.dates)
    report(f"read: {sum(written.rows):,} rows of {len(sources):,} files")


@permissions_explained()
def merge_step(request: Request, *, model_name: str, seed: int) -> dict[str, Any]:
    """Put the parts together and write the data set; the parts are gone when that is done, or can never be.

    :param seed: decides which rows are split off when ``data.evaluation`` is empty.
    :return: ``dataset.json``.
    :raises DataError: when the data cannot be used; names every problem with file and row.
    """
    folder = PartsFolder(request.output_uri)
    plan, problems = folder.plan(), Problems()
    found = _as_planned(request, plan, problems)
    try:
        with merged_rows(plan, found.sources, request.settings, problems, folder, found.dates) as rows:
            document = write_kept(
                rows, found, request.settings, problems, model=model_name, seed=seed, output_uri=request.output_uri
            )
    except DataError as error:
        print("The data cannot be used:", *error.problems, sep="\n  ", flush=True)
        folder.clear()
        raise
    folder.clear()
    return document


def _as_planned(request: Request, plan: PartsPlan, problems: Problems) -> Found:
    """Find the same sources as the plan, or none."""
    if request.sha256 != plan.settings_sha256:
        raise DataError("The plan was made with other settings. Start preprocessing again.")
    found = request.find(problems, as_of=plan.as_of)
    if plan.labelled:
        labelled = Source(f"{as_uri(request.output_uri)}/{FILE}", "train", named=LABELLED_REQUESTS)
        found = found.with_labelled(labelled)
    if [each.model_copy(update={"version": None}) for each in _planned(found.sources)] != [
        each.model_copy(update={"version": None}) for each in plan.sources
    ]:
        raise DataError(
            "Files of the sources came or went while they were read: others are there than when the plan was made. "
            "Start preprocessing again."
        )
    # A table may have another version by now: the one of the plan is read.
    sources = [replace(source, version=each.version) for source, each in zip(found.sources, plan.sources, strict=True)]
    return replace(found, sources=sources)


def _planned(sources: Sequence[Source]) -> list[PlannedSource]:
    return [
        PlannedSource(name=source.name, split=source.split, version=source.version, named=source.named)
        for source in sources
    ]
