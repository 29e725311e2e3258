"""The project's image as a program of the Kubernetes double, as far as serving goes."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.doubles.kubernetes.programs import Launch, ProcessGroup
from tests.serving_support import free_port

ROOT = Path(__file__).parents[1]
_SERVE = ("-m", "include.classifier.serve")


def install_runtime(k8s: Cluster, pipelines_python: str) -> None:
    """Install the manifest's ServingRuntime; its pods run a real TorchServe on this machine.

    :param pipelines_python: interpreter of the pipeline half's environment.
    """
    runtime: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "serving-runtime.yaml").read_text(encoding="utf-8"))
    k8s.add_image(runtime["spec"]["containers"][0]["image"], ServingImage(pipelines_python))
    runtime["metadata"]["namespace"] = k8s.namespace
    k8s.store.create(RUNTIMES, runtime, k8s.namespace)


@dataclass(frozen=True)
class ServingImage:
    """Runs the image's serving commands on this machine, with ports and a folder of their own.

    :param python: interpreter of the pipeline half's environment.
    """

    python: str

    def start(self, launch: Launch) -> _Server:
        """Start what the runtime starts in a pod."""
        assert list(launch.arguments[:3]) == ["python", *_SERVE]
        return _Server(self.python, launch, port=free_port())


class _Server(ProcessGroup):
    def __init__(self, python: str, launch: Launch, *, port: int) -> None:
        self._python, self._variables = python, {**launch.variables, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        self._folder = tempfile.TemporaryDirectory(prefix="s-", ignore_cleanup_errors=True)
        options = ["--folder", f"{self._folder.name}/serving", "--host", "127.0.0.1"]
        options += ["--port", str(port), "--metrics-port", str(free_port())]
        argv = [python, *_SERVE, str(launch.mounted["/mnt/models"]), *options]
        super().__init__(argv, self._variables, ROOT, launch.log, {8080: ("127.0.0.1", port)})

    def run(self, command: Sequence[str]) -> int:
        """Run the readiness probe's command in the container."""
        assert list(command) == ["python", *_SERVE, "--check"]
        argv = [self._python, *_SERVE, "--check", "--folder", f"{self._folder.name}/serving"]
        return subprocess.run(argv, env=self._variables, cwd=ROOT, check=False, capture_output=True).returncode

    def stop(self, grace_seconds: float) -> None:
        """Stop the server, and forget its folder."""
        super().stop(grace_seconds)
        self._folder.cleanup()
