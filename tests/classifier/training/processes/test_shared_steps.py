"""The rows of a step are dealt out: each of them once, whoever takes part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253  this file is about PyTorch
from torch.nn.functional import cross_entropy  # noqa: TID253
from transformers.trainer_pt_utils import get_length_grouped_indices  # noqa: TID253

from include.classifier.shards.manifest import Origin
from include.classifier.shards.order import EpochOrder
from include.classifier.shards.reading import StoredRows
from include.classifier.shards.writing import TokenisedRows, write_shards
from include.classifier.training.processes.peers import Peers
from include.classifier.training.processes.shared_steps import SharedSteps

ROWS: list[dict[str, Any]] = [{"input_ids": [1] * (1 + index % 7), "labels": index % 3} for index in range(50)]
WEIGHTS = [0.5, 1.0, 2.0]
BATCH = 16


def passes(peers: Peers, accumulation: int) -> list[list[Any]]:
    return list(
        SharedSteps(ROWS, batch_size=BATCH, accumulation=accumulation, peers=peers, class_weights=WEIGHTS, seed=7)
    )


@pytest.mark.parametrize(("size", "accumulation"), [(1, 1), (1, 4), (2, 1), (4, 1), (2, 4), (8, 2)])
def test_each_step_has_the_rows_that_one_process_gives_it(size: int, accumulation: int) -> None:
    torch.manual_seed(7)
    torch.empty((), dtype=torch.int64).random_()  # As a loader of PyTorch's does.
    order = get_length_grouped_indices([len(row["input_ids"]) for row in ROWS], BATCH)
    expected = [sorted(order[start : start + BATCH]) for start in range(0, len(ROWS), BATCH)]
    all_passes = [passes(Peers(rank, size), accumulation) for rank in range(size)]

    assert {len(found) for found in all_passes} == {4 * accumulation}
    for step, rows in enumerate(expected):
        parts = [each for found in all_passes for each in found[step * accumulation : (step + 1) * accumulation]]
        assert sorted(place.row for part in parts for place in part if place.counts) == rows
        assert all(part for part in parts), "a process without rows would not take part in the sum"
        assert {place.weight for part in parts for place in part} == {
            sum(WEIGHTS[int(str(ROWS[row]["labels"]))] for row in rows)
        }


@pytest.mark.parametrize(("size", "accumulation"), [(2, 1), (2, 4), (8, 2)])
def test_the_losses_of_all_passes_are_the_mean_of_the_step(size: int, accumulation: int) -> None:
    logits = torch.randn((len(ROWS), 3), generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([row["labels"] for row in ROWS])
    parts: dict[int, list[tuple[list[int], torch.Tensor]]] = {}
    for rank in range(size):
        shared = SharedSteps(
            ROWS,
            batch_size=BATCH,
            accumulation=accumulation,
            peers=Peers(rank, size),
            class_weights=WEIGHTS,
            seed=7,
        )
        for index, part in enumerate(shared):
            rows = [place.row for place in part]
            own = torch.tensor([int(labels[place.row]) if place.counts else -100 for place in part])
            loss = shared.loss(logits[rows], own, torch.tensor(part[0].weight))
            parts.setdefault(index // accumulation, []).append(([p.row for p in part if p.counts], loss))

    for step in parts.values():
        rows = [row for part, _ in step for row in part]
        expected = cross_entropy(logits[rows], labels[rows], weight=torch.tensor(WEIGHTS))
        assert float(sum(loss for _, loss in step)) / size == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("size", "accumulation"), [(2, 1), (2, 4)])
def test_the_steps_of_stored_rows_are_those_of_one_process_in_every_epoch(
    tmp_path: Path, size: int, accumulation: int
) -> None:
    origin = Origin(dataset_sha256="", tokenizer_sha256="", max_length=8)
    batch = TokenisedRows.of([row["input_ids"] for row in ROWS], [row["labels"] for row in ROWS])
    write_shards([batch], tmp_path, origin=origin, token_type="<u2")
    rows = StoredRows(tmp_path)
    for epoch in (0, 1):
        shared = [
            SharedSteps(
                rows,
                batch_size=BATCH,
                accumulation=accumulation,
                peers=Peers(rank, size),
                class_weights=WEIGHTS,
                seed=7,
            )
            for rank in range(size)
        ]
        for each in shared:
            each.set_epoch(epoch)
        all_passes = [list(each) for each in shared]
        for step, numbers in enumerate(EpochOrder(rows, batch_rows=BATCH, seed=7).batches(epoch)):
            parts = [each for found in all_passes for each in found[step * accumulation : (step + 1) * accumulation]]
            assert sorted(place.row for part in parts for place in part if place.counts) == sorted(numbers.tolist())
            weight = sum(WEIGHTS[ROWS[row]["labels"]] for row in numbers)
            assert {place.weight for part in parts for place in part} == {weight}
        assert {len(found) for found in all_passes} == {4 * accumulation} == {len(each) for each in shared}
