"""How many threads are of use."""

from __future__ import annotations

import os
from pathlib import Path

#: A model below this size computes on one thread: more gain nothing, and wherever another process wants a CPU they
#: wait for each other (measured with 400,000 parameters on two busy CPUs: four times slower with two threads).
SMALL_MODEL_PARAMETERS = 5_000_000


def available_cpus() -> int:
    """Return how many CPUs this process may use: what it is pinned to, and no more than its container's limit.

    Torch and ONNX Runtime count the CPUs of the machine. In a container that may use two of 64 they would start 64
    threads, which wait for each other most of the time.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cpus, int(quota) // int(period)))
    except (OSError, ValueError):  # No limit reads "max"; elsewhere than on Linux there is no such file.
        return cpus


def threads_of_a_worker(workers: int) -> int:
    """Return how many threads one of several processes should compute with: ``OMP_NUM_THREADS``, or its share."""
    asked_for = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked_for) if asked_for.isdecimal() else max(1, available_cpus() // workers)
