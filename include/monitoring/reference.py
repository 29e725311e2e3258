"""What requests are compared with: the data set of a version and its predictions, or the first requests it answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.classifier.data.dataset import read_dataset
from include.classifier.data.problems import DataError
from include.classifier.data.sources import as_uri
from include.classifier.evaluation.predictions import PREDICTIONS
from include.classifier.packaging.archive import open_archive
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring.features import features_of, vocabulary_of
from include.monitoring.columns import CONFIDENCE, LABEL, Row

#: Rows of a data set that are compared, spread evenly over it.
MOST_ROWS = 20_000

#: Beside the report in the folder of an attempt.
_REPORT = "/report/report.html"


def training_rows(candidate: TextClassifierCandidate) -> list[Row]:
    """Return the rows that a version was trained on: what the features of their texts are.

    :raises DataError: when the data set is gone.
    """
    with TemporaryDirectory(prefix="drift-") as folder:
        archive = candidate.archive
        unpacked = open_archive(archive.file_uri, Path(folder) / "archive", sha256=archive.sha256)
        vocabulary = vocabulary_of(unpacked / "tokenizer.json")
    split = read_dataset(candidate.dataset.uri)["splits"]["train"]
    texts = (batch["text"].to_pylist() for batch in _evenly(split["uri"], int(split["rows"]), ["text"]))
    return [Row(features_of(text, vocabulary=vocabulary)) for batch in texts for text in batch]


def predicted_rows(candidate: TextClassifierCandidate) -> list[Row]:
    """Return what a version has answered to its evaluation rows: label and confidence.

    Of rows that it was trained on it would be too sure.

    :raises DataError: when the predictions are gone.
    """
    if not candidate.report_uri.endswith(_REPORT):
        raise DataError(f"{candidate.model} {candidate.version}: its predictions are not known. {_REMEDY}")
    uri = f"{as_uri(candidate.report_uri.removesuffix(_REPORT))}/{PREDICTIONS}"
    rows: list[Row] = []
    for batch in _evenly(uri, candidate.dataset.evaluation_rows, ["candidate", "candidate_probabilities"]):
        for label, probabilities in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rows.append(Row({LABEL: label, CONFIDENCE: max(probabilities)}))
    return rows


def _evenly(uri: str, rows: int, columns: list[str]) -> Iterator[Any]:
    """Yield the rows of a Parquet file, and of many those that lie evenly in it.

    :param rows: how many there are.
    """
    import fsspec
    import pyarrow as pa
    from pyarrow import compute, parquet

    step, position = -(-rows // MOST_ROWS) or 1, 0
    try:
        with fsspec.open(as_uri(uri), "rb") as file:
            for batch in parquet.ParquetFile(file).iter_batches(columns=columns):
                places = pa.array(range(-position % step, len(batch), step), pa.int64())
                position += len(batch)
                yield pa.RecordBatch.from_struct_array(compute.take(batch.to_struct_array(), places))
    except FileNotFoundError:
        raise DataError(f"{uri}: not found. Retention may have deleted it. {_REMEDY}") from None
    except pa.ArrowException:
        raise DataError(f"{uri}: is no Parquet file of ours. {_REMEDY}") from None


_REMEDY = "Compare with the first requests instead: drift.reference: first_requests."
