"""Scores a table inside of a Spark job with a released archive: ``spark-submit score.py IN OUT ARCHIVE SHA256``.

Each task of the job loads the model once. The executors run the project's image, which has its packages and its code.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

#: Rows that are tokenised, sorted by length and scored together.
ROWS = 4096


# [START scorer]
def scorer(archive_uri: str, sha256: str, text_column: str = "text") -> Callable[..., Iterator[pa.RecordBatch]]:
    """Return what `DataFrame.mapInArrow` calls in every task of the job."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from include.classifier.packaging.archive import open_archive
        from include.classifier.serving.predictor import Predictor
        from include.classifier.serving.text import is_blank

        with tempfile.TemporaryDirectory() as folder:
            # Not the digest that lies beside it: the one that the registry has of the release.
            predictor = Predictor.load(open_archive(archive_uri, Path(folder), sha256=sha256), threads=1)
            for batch in batches:
                texts = batch.column(text_column).to_pylist()
                # A row without a text keeps its place, and has no prediction.
                rows = [row for row, text in enumerate(texts) if text is not None and not is_blank(text)]
                labels: list[str | None] = [None] * len(texts)
                probabilities: list[float | None] = [None] * len(texts)
                for row, found in zip(rows, predictor.predict([texts[row] for row in rows]), strict=True):
                    labels[row], probabilities[row] = found.label, round(found.score, 6)
                yield pa.RecordBatch.from_arrays(
                    [*batch.columns, pa.array(labels, pa.string()), pa.array(probabilities, pa.float64())],
                    names=[*batch.schema.names, "predicted_label", "predicted_probability"],
                )

    return score


# [END scorer]


def main() -> None:
    """Run the job."""
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType

    source, target, archive_uri, sha256 = sys.argv[1:]
    spark = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS).getOrCreate()
    table = spark.read.parquet(source)
    schema = StructType(
        [
            *table.schema.fields,
            StructField("predicted_label", StringType()),
            StructField("predicted_probability", DoubleType()),
        ]
    )
    table.mapInArrow(scorer(archive_uri, sha256), schema).write.parquet(target)


if __name__ == "__main__":
    main()
