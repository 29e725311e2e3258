"""Training rows that are more than memory should hold: streamed from the data set into tokenised files, once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from include.classifier.data.dataset import read_sample, read_split, split_batches
from include.classifier.progress import report
from include.classifier.serving.text import tokenise
from include.classifier.shards.manifest import Manifest, Origin, read_manifest, token_type, tokenizer_digest
from include.classifier.shards.reading import StoredRows
from include.classifier.shards.writing import TokenisedRows, write_shards
from include.classifier.training.processes.peers import ALONE, Peers
from include.classifier.training.rows import (
    Encoded,
    HeldOut,
    Prepared,
    RowsInMemory,
    TrainingRows,
    report_truncated,
    weights_of_counts,
)

if TYPE_CHECKING:
    from include.classifier.training.base_model import BaseModel
    from include.contracts.settings import TrainingConfig

#: Texts that a vocabulary is made of, and a base model tried with.
_SAMPLE_TEXTS = 100_000
#: Rows between two lines of progress.
_REPORT_ROWS = 1_000_000
#: Between two looks for what another process writes.
_PAUSE_SECONDS = 0.2


@contextmanager
def training_rows(
    dataset: Mapping[str, Any], settings: TrainingConfig, *, beside: Path, held_out: HeldOut | None = None
) -> Iterator[TrainingRows]:
    """Yield the training rows of a data set: in memory, or stored where they are more than ``in_memory_rows``.

    :param dataset: ``dataset.json``.
    :param beside: the folder of the model. Files lie beside it until the context ends: a container's /tmp is often
        small, and the volume of the model has room for them.
    :param held_out: the rows that judge, whatever the settings say; default: what the settings ask for.
    """
    if dataset["splits"]["train"]["rows"] <= settings.in_memory_rows:
        rows = read_split(dataset, "train")
        yield RowsInMemory(rows.texts, rows.labels, held_out=held_out)
        return
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=beside.parent, prefix=".rows-") as folder:
        yield RowsOfDataset(dataset, Path(folder), held_out=held_out)


def rows_of(document: Mapping[str, Any]) -> TrainingRows:
    """Return the rows that another process has described.

    :param document: of :meth:`~include.classifier.training.rows.TrainingRows.as_document`.
    """
    if "dataset" in document:
        return RowsOfDataset(document["dataset"], Path(document["folder"]))
    return RowsInMemory(document["texts"], document["classes"])


class RowsOfDataset:
    """The training rows of a data set, which are read through and never held.

    :param dataset: ``dataset.json``.
    :param folder: for the tokenised rows; those that are there already are taken where they are of the same data set
        and the same tokenizer.
    """

    def __init__(self, dataset: Mapping[str, Any], folder: Path, *, held_out: HeldOut | None = None) -> None:
        self._dataset, self._folder, self._held_out = dataset, folder, held_out
        self._counts = list(dataset["splits"]["train"]["label_counts"].values())

    def __len__(self) -> int:
        return sum(self._counts)

    def texts(self) -> Sequence[str]:
        """Return a random sample, which is the same every time."""
        return read_sample(self._dataset, "train", most=_SAMPLE_TEXTS).texts

    def as_document(self) -> dict[str, Any]:
        """Return where they are."""
        return {"dataset": dict(self._dataset), "folder": str(self._folder)}

    def prepare(self, base: BaseModel, settings: TrainingConfig, n_classes: int, peers: Peers = ALONE) -> Prepared:
        """Tokenise them into files: the first process of a node does, while its others wait."""
        chosen = [np.empty(0, np.int64)] * n_classes
        if held_out := self._held_out or HeldOut.asked_by(settings):
            chosen = list(map(np.sort, held_out.of_classes(self._counts)))
        origin = Origin(
            dataset_sha256=self._dataset["splits"]["train"]["sha256"],
            tokenizer_sha256=tokenizer_digest(base.tokenizer),
            max_length=base.max_length,
            left_out_sha256=hashlib.sha256(b"".join(ranks.tobytes() + b";" for ranks in chosen)).hexdigest(),
        )
        validation: Encoded = []
        found = self._written(origin)
        while found is None and not peers.is_first_of_node:
            time.sleep(_PAUSE_SECONDS)  # with the first process all of them end
            found = self._written(origin)
        if found is None:
            found = write_shards(
                self._training(base, _ChosenRows(chosen), validation),
                self._folder,
                origin=origin,
                token_type=token_type(base.tokenizer),
            )
        elif any(map(len, chosen)):
            validation = self._only_validation(base, _ChosenRows(chosen))
        rows = StoredRows(self._folder)
        report_truncated(found.truncated, len(self), base)
        report(
            f"train: {len(rows):,} rows are tokenised in {len(found.shards):,} files and are read from there, because "
            f"they are more than in_memory_rows ({settings.in_memory_rows:,})"
        )
        left = np.array(self._counts) - list(map(len, chosen))
        return Prepared(rows, validation, weights_of_counts(left))

    def _written(self, origin: Origin) -> Manifest | None:
        found = read_manifest(self._folder)
        return found if found and found.origin == origin else None

    def _training(self, base: BaseModel, held_out: _ChosenRows, validation: Encoded) -> Iterator[TokenisedRows]:
        """Yield the rows that are trained on; those that choose the epoch go to ``validation``."""
        done = 0
        for texts, labels in self._batches():
            out = held_out.among(labels)
            tokens = tokenise(base.tokenizer, texts, base.max_length)
            validation += _encoded(tokens.input_ids, labels, out)
            kept = [ids for ids, is_out in zip(tokens.input_ids, out, strict=True) if not is_out]
            yield TokenisedRows.of(kept, labels[~out], sum(tokens.truncated))
            before, done = done, done + len(texts)
            if done // _REPORT_ROWS > before // _REPORT_ROWS:
                report(f"train: {done:,} of {len(self):,} rows are tokenised")

    def _only_validation(self, base: BaseModel, held_out: _ChosenRows) -> Encoded:
        found: Encoded = []
        for texts, labels in self._batches():
            out = held_out.among(labels)
            chosen = [text for text, is_out in zip(texts, out, strict=True) if is_out]
            tokens = tokenise(base.tokenizer, chosen, base.max_length)
            found += _encoded(tokens.input_ids, labels[out], np.ones(len(chosen), dtype=bool))
        return found

    def _batches(self) -> Iterator[_Batch]:
        for batch in split_batches(self._dataset, "train"):
            yield _Batch(batch.column("text").to_pylist(), batch.column("label").to_numpy())


class _Batch(NamedTuple):
    texts: list[str]
    labels: np.ndarray


class _ChosenRows:
    """Tells which rows are held out, batch by batch.

    :param chosen: for each class which of its rows, in ascending order.
    """

    def __init__(self, chosen: Sequence[np.ndarray]) -> None:
        self._chosen = chosen
        self._seen = [0] * len(chosen)

    def among(self, labels: np.ndarray) -> np.ndarray:
        """Return which of the next rows are held out, bool, shape (rows,)."""
        out = np.zeros(len(labels), dtype=bool)
        for value in np.unique(labels):
            rows = np.flatnonzero(labels == value)
            ranks, begin = self._chosen[value], self._seen[value]
            first, last = np.searchsorted(ranks, (begin, begin + len(rows)))
            out[rows[ranks[first:last] - begin]] = True
            self._seen[value] += len(rows)
        return out


def _encoded(input_ids: Sequence[list[int]], labels: np.ndarray, chosen: np.ndarray) -> Encoded:
    return [
        {"input_ids": ids, "labels": int(label)}
        for ids, label, is_chosen in zip(input_ids, labels, chosen, strict=True)
        if is_chosen
    ]
