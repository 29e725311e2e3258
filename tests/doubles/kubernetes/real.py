"""A real cluster in the double's place, so that the same tests run over both.

``KSERVE_KUBECONFIG`` names its kubeconfig, ``KSERVE_NAMESPACE`` the namespace to work in (default ``models``),
``KSERVE_GATEWAY_URL`` the ingress gateway; tests of another system have variables of their own (``TRAINER_KUBECONFIG``,
``TRAINER_NAMESPACE``). What stands in the cluster (images, claims, runtimes) is up to whoever
runs it; a test that asks for anything that only the double can do is skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.doubles.kubernetes.access import ClusterAccess
from tests.doubles.kubernetes.cluster import cluster


class RealCluster(ClusterAccess):
    """The cluster that a kubeconfig leads to."""

    is_double = False

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self.namespace = namespace

    def kubeconfig(self, path: Path) -> Path:
        return Path(shutil.copyfile(self._kubeconfig, path))

    @property
    def gateway_url(self) -> str:
        if not (url := os.environ.get("KSERVE_GATEWAY_URL")):
            pytest.skip("KSERVE_GATEWAY_URL does not say where the cluster's ingress gateway is")
        return url

    def api_client(self) -> Any:
        from kubernetes import config

        return config.new_client_from_config(self._kubeconfig)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip(f"only the double of a cluster has {name}")


@contextmanager
def double_or_real(system: str = "KSERVE", **settings: Any) -> Iterator[Any]:
    """Yield the real cluster that the environment names, else a double made with these settings.

    :param system: what the names of its variables begin with.
    """
    if kubeconfig := os.environ.get(f"{system}_KUBECONFIG"):
        yield RealCluster(kubeconfig, os.environ.get(f"{system}_NAMESPACE", "models"))
        return
    with cluster(**settings) as made:
        yield made
