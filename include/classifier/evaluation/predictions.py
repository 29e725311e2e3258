"""Keeps what every model predicted for every evaluation row, so that anybody can check the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.classifier.data.sources import as_uri
from include.classifier.metrics import Classes, Probabilities
from include.contracts.version.files import new_file

#: Below the folder of the release. Not in the package's: whatever stands there is copied into every serving pod.
PREDICTIONS = "evaluation/predictions.parquet"


def write_predictions(
    truth: Classes, probabilities: Mapping[str, Probabilities], *, labels: Sequence[str], output_uri: str
) -> str:
    """Write one line for each evaluation row and return the file's URI.

    Columns: ``row``, its place in the data set's ``evaluation.parquet``, where the texts are; ``label``, the true one;
    then for each model ``<model>``, the label that it predicts, and ``<model>_probabilities``, a list in the order of
    ``labels`` in ``candidate.json``. No text stands here.

    :param truth: class indices, shape ``(n_rows,)``.
    :param probabilities: of each model, shape ``(n_rows, n_labels)``.
    :param output_uri: folder of the release.
    """
    import fsspec
    import pyarrow as pa
    from pyarrow import parquet

    names = pa.array(labels, pa.string())
    columns = {"row": pa.array(range(len(truth)), pa.int64()), "label": names.take(pa.array(truth))}
    for who, values in probabilities.items():
        columns[who] = names.take(pa.array(values.argmax(axis=1)))
        columns[f"{who}_probabilities"] = pa.array(values.tolist(), pa.list_(pa.float64()))
    uri = f"{as_uri(output_uri)}/{PREDICTIONS}"
    store, path = fsspec.core.url_to_fs(uri)
    with new_file(store, path) as file:
        parquet.write_table(pa.table(columns), file, compression="zstd")
    return uri
