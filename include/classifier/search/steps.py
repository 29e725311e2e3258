"""The step of the search pipeline as a plain function; the component of include/pipelines only calls it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from include.classifier.data.dataset import read_dataset
from include.classifier.data.sources import as_uri, write_whole
from include.classifier.progress import report
from include.classifier.search import processes
from include.classifier.search.findings import findings, heading
from include.classifier.search.journal import Journal, digest
from include.classifier.search.katib.cluster import Katib
from include.classifier.search.katib.following import engine
from include.classifier.search.katib.job import write_task
from include.classifier.search.objective import TrainingObjective, keeps_best, present_settings
from include.classifier.search.proposals import Proposals
from include.classifier.search.searching import Search, Start
from include.contracts.search.document import REPORT_FILE, SearchDocument
from include.contracts.search.settings import SearchConfig
from include.contracts.settings import TrainingConfig
from include.contracts.version.files import permissions_explained


@permissions_explained()
def search_step(
    *,
    dataset_uri: str,
    output_uri: str,
    model_name: str,
    search_id: str,
    training: Mapping[str, Any],
    settings: Mapping[str, Any],
    confidence: float = 0.95,
    tracking_uri: str = "",
    experiment_name: str = "",
    code_revision: str = "",
    start: Start = processes.start,
    katib: Katib | None = None,
) -> SearchDocument:
    """Search for better settings, or go on with a search that was interrupted; ``search.json`` is written last of all.

    :param dataset_uri: of ``dataset.json``, whose training rows are trained on and judge.
    :param output_uri: folder of the search.
    :param search_id: 14 digits.
    :param training: section ``training`` of the model's YAML: the present settings.
    :param settings: section ``search``, :class:`include.contracts.search.settings.SearchConfig`.
    :param confidence: of the intervals of all differences together.
    :param tracking_uri: of MLflow; empty for none.
    :param katib: of the cluster; default: of the one that this process runs in.
    :raises SearchError: when no trial was finished, trials fail for other reasons than their settings, or Katib was
        asked for and cannot be used.
    :raises DataError: when the folder holds a search for something else.
    """
    config, present = SearchConfig.model_validate(dict(settings)), TrainingConfig.model_validate(dict(training))
    folder, dataset = as_uri(output_uri), read_dataset(dataset_uri)
    space, rows = config.space_for(present), int(dataset["splits"]["train"]["rows"])
    objective = TrainingObjective(
        dataset_uri=dataset_uri,
        model=model_name,
        search=search_id,
        training=present,
        validation_share=config.validation_share,
        seed=config.seed,
        tracking_uri=tracking_uri,
        experiment=experiment_name,
        code_revision=code_revision or os.environ.get("CODE_REVISION", "unknown"),
    )
    asked = {
        "training": present.model_dump(mode="json"),
        "search": config.model_dump(mode="json", include={"objective", "early_stop", "validation_share", "seed"}),
        "space": {name: values.model_dump(mode="json") for name, values in sorted(space.items())},
        "dataset": dataset["sha256"],
    }
    here = present_settings(present, list(space), rows=rows)
    proposals = Proposals(config, space, here)
    search = Search(
        config=config,
        objective=objective,
        start=start,
        proposals=proposals,
        journal=Journal(folder, question := digest(asked)),
        present=here,
        keeps_best=partial(keeps_best, present, rows=rows),
        abandoned=partial(_close, tracking_uri),
    )
    by_katib = engine(search, search_id=search_id, folder=folder, question=question, space=space, katib=katib)
    if by_katib is not None:
        write_task(folder, objective, config, rows=rows)
        ended_by = by_katib.run(search)
    else:
        ended_by = search.run()
    truth = objective.truth(dataset)
    document = {
        **heading(model_name, search_id, dataset, uri=dataset_uri, validation_rows=len(truth)),
        **findings(
            search.journal.trials,
            config=config,
            space=space,
            truth=truth,
            n_classes=len(dataset["labels"]),
            confidence=confidence,
            importance=proposals.importance(),
        ),
        "ended_by": ended_by,
        "seconds": round(search.journal.seconds, 3),
        "code_revision": objective.code_revision,
        "report_uri": f"{folder}/{REPORT_FILE}",
    }
    found = _write(document, folder)
    delete_old(folder, keep=config.keep)
    return found


def delete_old(folder: str, *, keep: int) -> None:
    """Leave the newest searches, and this one, of which the folder's name is the id."""
    from fsspec.core import url_to_fs

    searches, _, own = folder.rpartition("/")
    filesystem, path = url_to_fs(searches)
    names = sorted(each.rstrip("/").rpartition("/")[2] for each in filesystem.ls(path, detail=False))
    ids = [name for name in names if len(name) == 14 and name.isascii() and name.isdecimal()]
    for name in ids[:-keep]:
        if name != own:
            filesystem.rm(f"{path}/{name}", recursive=True)


def _write(document: dict[str, Any], folder: str) -> SearchDocument:
    from include.classifier.report.search_page import make_page

    uri = f"{folder}/{SearchDocument.file}"
    text = SearchDocument.dump(document, where=uri)  # nothing is written of what nobody could read
    page, picture = make_page(document)
    write_whole(f"{folder}/trials.svg", picture)
    write_whole(f"{folder}/{REPORT_FILE}", page)
    write_whole(uri, text)
    found = SearchDocument.parse(text, where=uri)
    best = found.trial(found.best)
    word = "the present settings are the best" if not found.is_better else f"trial {best.number} is the best"
    report(f"search: {word} of {len(found.trials)} trials, {found.objective} {best.value:.4f}; wrote {uri}")
    return found


def _close(tracking_uri: str, run_id: str) -> None:
    """Close the MLflow run of a trial that was killed."""
    from include.classifier.tracking import resume

    resume(tracking_uri, run_id).end("FAILED")
