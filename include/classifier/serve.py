"""Serves a package in the foreground: what the image runs as a predictor of KServe.

``python -m include.classifier.serve FOLDER`` serves until it is told to stop. It ends with 1 when the model cannot be
loaded, so that its pod crashes with the reason in its log: TorchServe alone would start workers for ever.

``python -m include.classifier.serve --check`` ends with 0 when a worker holds each model: the readiness probe.

Only predictions (port 8080) and metrics (8082) can be reached from other pods. Whoever could reach the management API
could load code; here it is a socket in a private folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from include.classifier.packaging.server import TorchServe, TorchServeError, is_ready, start
from include.torchserve import kill, terminate

_CONFIG = Path("config", "config.properties")
_LOG_CONFIG = Path(__file__).with_suffix(".xml")

#: In the server's folder, for the probe: the names of its models.
_MODELS = "models.json"

#: Variable with the digest of the archive that a release was made from; empty or absent: any will do.
ARCHIVE_SHA256 = "ARCHIVE_SHA256"


class PackageError(ValueError):
    """The folder holds no package; the message says what is missing."""


def model_names(package: Path) -> list[str]:
    """Return the names under which a package's models are served.

    :param package: folder with ``config/config.properties`` and ``model-store/``.
    :raises PackageError: when it is not one.
    """
    try:
        lines = (package / _CONFIG).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise PackageError(
            f"{package / _CONFIG} cannot be read ({error.strerror}): mount the folder of a package, "
            "<store>/<model>/<version>/package."
        ) from error
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        models = json.loads(settings["model_snapshot"])["models"]
        archives = [how["marName"] for versions in models.values() for how in versions.values()]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise PackageError(f"{package / _CONFIG} has no model_snapshot that names models and archives.") from None
    if missing := [name for name in archives if not (package / "model-store" / name).exists()]:
        raise PackageError(f"{package / 'model-store'} has no {', '.join(missing)}: the package is not complete.")
    return list(models)


def check_archive(package: Path, sha256: str) -> None:
    """Find out whether a package is the one that was evaluated and tested.

    :param sha256: hex digest that one of its archives must have.
    :raises PackageError: when none has.
    """
    digests = {}
    for archive in sorted((package / "model-store").glob("*.mar")):
        with archive.open("rb") as file:
            digests[archive.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in digests.values():
        found = ", ".join(f"{name} has SHA-256 {digest}" for name, digest in digests.items()) or "there is none"
        raise PackageError(
            f"{package / 'model-store'} does not hold the archive that was released (SHA-256 {sha256}): {found}. "
            "Somebody changed it in the model store; train and release a new version."
        )


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
    models = model_names(package)
    if sha256 := os.environ.get(ARCHIVE_SHA256):
        check_archive(package, sha256)
    # A container that starts again finds the socket and the process number that the one before it left.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    (folder / _MODELS).write_text(json.dumps(models), encoding="utf-8")
    process = start(
        package,
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
        for model in models:
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
    """Return 0 when a worker holds each of the models that are served from this folder, else 1."""
    try:
        models = json.loads((folder / _MODELS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        models = []
    waiting = [model for model in models if not is_ready(folder, model)]
    if models and not waiting:
        return 0
    print(f"Not ready: {', '.join(waiting)}" if waiting else "Not ready: the server has not started", file=sys.stderr)
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
