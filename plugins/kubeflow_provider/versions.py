"""The version of a release: a sortable number made from the DAG run's time."""

from __future__ import annotations

from datetime import UTC
from typing import Any


def release_version(dag_run: Any) -> str:
    """Return for example ``20261121030000``: valid for TorchServe, for a Kubernetes label and for a registry.

    It is made from ``run_after``, which every kind of run has (a logical date may be missing) and which retries keep.
    """
    return dag_run.run_after.astimezone(UTC).strftime("%Y%m%d%H%M%S")
