"""The image of the runtime ``model-server`` as a program of the Kubernetes double: the real server, on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.doubles.kubernetes.programs import Launch, ProcessGroup
from tests.serving_support import free_port

ROOT = Path(__file__).parents[1]
_RUNTIME = ROOT / "plugins" / "local_services" / "kserve_server"


def install_model_server(k8s: Cluster, kserve_python: str) -> None:
    """Install the manifest's ServingRuntime; its pods run KServe's own server.

    :param kserve_python: interpreter of the environment that has it.
    """
    text = (ROOT / "deploy" / "kserve" / "model-server.yaml").read_text(encoding="utf-8")
    runtime: dict[str, Any] = yaml.safe_load(text)
    k8s.add_image(runtime["spec"]["containers"][0]["image"], ModelServerImage(kserve_python))
    runtime["metadata"]["namespace"] = k8s.namespace
    k8s.store.create(RUNTIMES, runtime, k8s.namespace)


@dataclass(frozen=True)
class ModelServerImage:
    """Runs the image's command with a port of its own.

    :param python: interpreter of the server's environment.
    """

    python: str

    def start(self, launch: Launch) -> ProcessGroup:
        """Start what the runtime starts in a pod."""
        command = list(launch.arguments)
        assert command[:3] == ["python", "-m", "runtime.pod"]
        port = free_port()
        models = launch.mounted["/mnt/models"]
        options = [f"--model_dir={models}", "--host=127.0.0.1", f"--http_port={port}"]
        variables = {
            **launch.variables,
            "PYTHONPATH": str(_RUNTIME),
            "PATH": "/usr/bin:/bin",
            "HOME": str(launch.folder),
        }
        argv = [self.python, *command[1:], *options]
        return ProcessGroup(argv, variables, launch.folder, launch.log, {8080: ("127.0.0.1", port)})
