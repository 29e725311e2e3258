"""Serves a package in the foreground: what the image runs as a predictor of KServe.

``python -m include.classifier.serve FOLDER`` serves until it is told to stop. It ends with 1 when the model cannot be
loaded, so that its pod crashes with the reason in its log: TorchServe alone would start workers for ever.

``python -m include.classifier.serve --check`` ends with 0 when a worker holds the model: the readiness probe.

Only predictions (port 8080) and metrics (8082) can be reached from other pods. Whoever could reach the management API
could load code; here it is a socket in a private folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from include.classifier.packaging.served_package import ARCHIVE_SHA256, PackageError, pin
from include.classifier.packaging.server import TorchServe, TorchServeError, is_ready, start
from include.torchserve import kill, terminate

_LOG_CONFIG = Path(__file__).with_suffix(".xml")

#: In the server's folder, for the probe: the name of its model.
_MODEL = "model"


def serve(
    package: Path,
    folder: Path,
    *,
    host: str,
    port: int,
    metrics_port: int,
    timeout_seconds: float,
    drain_seconds: float,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code.

    After the first SIGTERM it goes on serving for a while, so that requests on their way are answered.

    :param folder: emptied, and readable for this user only.
    :param timeout_seconds: for a worker to load the model.
    :param drain_seconds: how long it serves on after SIGTERM.
    :raises PackageError: when the folder holds no package, or another one than ``$ARCHIVE_SHA256`` says.
    :raises TorchServeError: when the model cannot be loaded.
    """
    # A container that starts again finds the socket and the process number that the one before it left.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    model = pin(package, folder / "package", os.environ.get(ARCHIVE_SHA256) or None)
    (folder / _MODEL).write_text(model, encoding="utf-8")
    process = start(
        folder / "package",
        folder,
        inference_address=f"http://{host}:{port}",
        metrics_address=f"http://{host}:{metrics_port}",
        log_config=_LOG_CONFIG,
    )
    told_to_stop = threading.Event()

    def stop(number: int, _: object) -> None:
        is_first = not told_to_stop.is_set()
        told_to_stop.set()
        if number == signal.SIGTERM and is_first and drain_seconds:
            # Kubernetes tells the pod and whoever sends it requests at the same time: some still come.
            timer = threading.Timer(drain_seconds, terminate, [folder])
            timer.daemon = True
            timer.start()
        else:
            terminate(folder)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server = TorchServe(process, folder, port=port)
    try:
        seconds = server.wait_until_ready(model, timeout_seconds=timeout_seconds)
        print(f"Serving {model} on port {port} after {seconds:.1f} s.", flush=True)
        code = process.wait()
    except TorchServeError:
        if not told_to_stop.is_set():
            kill(folder)
            process.wait()
            raise
        code = process.wait()
    return 0 if told_to_stop.is_set() else code or 1


def check(folder: Path) -> int:
    """Return 0 when a worker holds the model that is served from this folder, else 1."""
    try:
        model = (folder / _MODEL).read_text(encoding="utf-8")
    except OSError:
        print("Not ready: the server has not started", file=sys.stderr)
        return 1
    if is_ready(folder, model):
        return 0
    print(f"Not ready: {model}", file=sys.stderr)
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m include.classifier.serve", description=__doc__.split("\n")[0])
    parser.add_argument("package", nargs="?", type=Path, default=Path("/mnt/models"), help="(%(default)s)")
    parser.add_argument("--check", action="store_true", help="only say whether the models are loaded")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "serving"), help="(%(default)s)")
    parser.add_argument("--host", default="0.0.0.0", help="(%(default)s)")  # noqa: S104  predictions are for all
    parser.add_argument("--port", type=int, default=8080, help="of the predictions (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=8082, help="(%(default)s)")
    parser.add_argument("--timeout-seconds", type=float, default=600, help="to load a model (%(default)s)")
    parser.add_argument("--drain-seconds", type=float, default=3, help="to serve on after SIGTERM (%(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        return check(options.folder)
    try:
        return serve(
            options.package,
            options.folder,
            host=options.host,
            port=options.port,
            metrics_port=options.metrics_port,
            timeout_seconds=options.timeout_seconds,
            drain_seconds=options.drain_seconds,
        )
    except (PackageError, TorchServeError) as error:
        # Last of all: Kubernetes takes a container's last lines for the reason of its end.
        print(error, file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
