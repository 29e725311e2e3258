"""The command line of the server."""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

_PROBE_SECONDS = 5.0


def check(port: int) -> int:
    """Return 0 when the server on a port of this machine should be sent requests, else 1."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)) as connection:
        try:
            connection.request("GET", "/v2/health/ready")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            print("Not ready: the server has not started", file=sys.stderr)
            return 1
    if status != http.client.OK:
        print(f"Not ready: status {status}", file=sys.stderr)
    return int(status != http.client.OK)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m include.classifier.native",
        description="Serves a package in the foreground, without TorchServe.",
    )
    parser.add_argument("package", nargs="?", type=Path, default=Path("/mnt/models"), help="(%(default)s)")
    parser.add_argument("--check", action="store_true", help="only say whether the model is loaded")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "native"), help="(%(default)s)")
    parser.add_argument("--host", default="0.0.0.0", help="(%(default)s)")  # noqa: S104  predictions are for all
    parser.add_argument("--port", type=int, default=8080, help="of the predictions (%(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8081, help="of the same over gRPC, 0: none (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=8082, help="(%(default)s)")
    parser.add_argument("--unix-socket", type=Path, help="of the predictions over HTTP, instead of all ports")
    parser.add_argument("--reason-file", type=Path, help="gets the reason when nothing can be served")
    parser.add_argument("--drain-seconds", type=float, default=3, help="to serve on after SIGTERM (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes that compute (as the archive says)")
    parser.add_argument("--batch-tokens", type=int, default=4096, help="at once, padding included (%(default)s)")
    parser.add_argument("--queue-tokens", type=int, default=1_000_000, help="that may wait (%(default)s)")
    parser.add_argument("--queue-requests", type=int, default=1000, help="that may be under way (%(default)s)")
    parser.add_argument("--queue-bytes", type=int, default=100_000_000, help="of their bodies together (%(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        return check(options.port)
    # The probe needs nothing of this, and runs every few seconds.
    from include.classifier.native.batches.workers import WorkerFailedError
    from include.classifier.native.server import Doors, Limits, serve
    from include.classifier.packaging.archive import ArchiveError
    from include.classifier.packaging.served_package import PackageError

    try:
        return serve(
            options.package,
            options.folder,
            doors=Doors(
                host=options.host,
                port=options.port,
                metrics_port=options.metrics_port,
                grpc_port=options.grpc_port,
                unix_socket=options.unix_socket,
            ),
            drain_seconds=options.drain_seconds,
            workers=options.workers,
            limits=Limits(
                batch_tokens=options.batch_tokens,
                queue_tokens=options.queue_tokens,
                queue_requests=options.queue_requests,
                queue_bytes=options.queue_bytes,
            ),
        )
    except (ArchiveError, PackageError, WorkerFailedError, OSError) as error:
        # Last of all: Kubernetes takes a container's last lines for the reason of its end.
        print(error, file=sys.stderr, flush=True)
        if options.reason_file:
            options.reason_file.write_text(str(error), encoding="utf-8")
        return 1


if __name__ == "__main__":
    sys.exit(main())
