"""Rows come back as they went in, those that are asked for and no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from include.classifier.data.checks import Checked
from include.classifier.data.row_store import RowStore


def test_chosen_rows_come_back_in_their_order_with_their_classes_and_numbers() -> None:
    with RowStore(class_count=3) as store:
        for texts, classes in ((["a", "b"], [0, 2]), (["c"], [-1]), ([], []), (["d", "e", "é"], [1, 1, 0])):
            rows = Checked(
                pa.array(texts, pa.string()), np.array(classes, dtype=np.int64), np.zeros(len(texts), np.int8)
            )
            store.append(rows, np.arange(len(store), len(store) + len(texts)) + 2**40)
        store.seal()

        marks = np.array([0, 2, 1, 2, 0, 2])
        batches = [batch.to_pydict() for batch in store.batches(marks, 2)]

        assert batches == [{"text": ["b"], "label": [2]}, {"text": ["d", "é"], "label": [1, 0]}]
        assert [store.number(position) for position in (0, 5, 2)] == [2**40, 2**40 + 5, 2**40 + 2]
        assert (len(store), store.classes.tolist()) == (6, [0, 2, -1, 1, 1, 0])


def test_what_stays_in_memory_is_two_bytes_for_each_row() -> None:
    for class_count, size in ((5, 1), (128, 1), (129, 2), (100_000, 4)):
        with RowStore(class_count=class_count) as store:
            rows = Checked(pa.array(["a"]), np.array([class_count - 1]), np.zeros(1, np.int8))
            store.append(rows, np.array([1]))
            store.seal()

            assert (store.classes.itemsize, store.classes.tolist()) == (size, [class_count - 1])
            assert store.reasons.itemsize == 1


def test_store_without_rows_gives_none() -> None:
    with RowStore(class_count=2) as store:
        store.seal()

        assert list(store.batches(np.zeros(0), 1)) == []
