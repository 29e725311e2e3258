"""The same in a store that is no folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from include.classifier.batch.output import Output
from include.classifier.batch.steps import finish_step
from include.classifier.data.problems import DataError
from tests.classifier.batch.scorers import Counting, plan, score


class ObjectStore(MemoryFileSystem):
    """A store under `gs://` whose objects are there as a whole or not at all."""

    protocol = ("gs", "gcs")
    store: dict[str, Any] = {}
    pseudo_dirs: list[str] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("gs://").strip("/") if path else ""


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "gs", ObjectStore)
    ObjectStore.store.clear()
    ObjectStore.pseudo_dirs[:] = [""]
    yield ObjectStore()
    ObjectStore.clear_instance_cache()


def test_a_folder_of_a_store_is_scored_into_another(store: ObjectStore, tmp_path: Path) -> None:
    for part in range(2):
        parquet.write_table(pa.table({"text": ["x" * (row + 1 + part) for row in range(5)]}), tmp_path / "part")
        store.put_file(str(tmp_path / "part"), f"gs://lake/reviews/part-{part}.parquet")

    def run(predictor: Counting) -> None:
        plan("gs://lake/scores", "gs://lake/reviews")
        score("gs://lake/scores", predictor)

    with pytest.raises(KeyboardInterrupt):
        run(Counting(dies_after=4))
    counting = Counting()
    run(counting)
    found = finish_step(output_uri="gs://lake/scores")

    assert len(counting.texts) == 7
    assert (found.rows, found.predicted) == (10, 10)
    files = [file.file for file in found.files]
    assert files == [f"predictions/part-{number:05d}.parquet" for number in range(4)]
    labels = []
    for file in files:
        with store.open(f"gs://lake/scores/{file}") as opened:
            labels += parquet.read_table(opened).column("predicted_label").to_pylist()
    assert labels == ["odd", "even", "odd", "even", "odd", "even", "odd", "even", "odd", "even"]
    Output("gs://lake/scores").check(["gs://lake"], data_uri="gs://lake/reviews")
    with pytest.raises(DataError, match="is not written on behalf of a form"):
        Output("gs://lake/other").check(["gs://lake/scores"], data_uri="gs://lake/reviews")
    assert sorted(store.find("gs://lake/scores"))[0].endswith("plan.json")
