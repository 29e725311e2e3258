from __future__ import annotations

import os
from pathlib import Path

import pytest

from include.classifier.serving import cpus


@pytest.mark.parametrize(("limit", "expected"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 64)])
def test_a_containers_cpu_limit_counts(limit: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: limit)

    assert cpus.available_cpus() == expected


@pytest.mark.parametrize(
    ("asked_for", "workers", "expected"), [("", 1, 6), ("", 4, 1), ("", 9, 1), ("3", 2, 3), ("4,2", 1, 4), ("x", 2, 3)]
)
def test_workers_share_the_cpus(asked_for: str, workers: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked_for)
    monkeypatch.setattr(cpus, "available_cpus", lambda: 6)

    assert cpus.threads_of_a_worker(workers) == expected
