"""Runs the native servers in a container of their own, with everything that was live (docker-compose.yaml).

``python -m local_services.native_server.server`` runs the versions of a ``local_native`` connection whose ``role`` is
``server``, and stops them at SIGTERM. Airflow's processes have a connection to the same folders with the role
``client``, and say what shall run.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
from contextlib import ExitStack
from threading import Event

from local_services.native_server.hook import LocalNativeHook
from local_services.native_server.metrics import Numbers
from local_services.roles import Role
from local_services.version_servers.supervisor import in_background, supervise


def run(hook: LocalNativeHook, stop: Event, *, metrics_port: int = 0) -> None:
    """Run what was live, and what is asked for, until told to stop.

    :param hook: of the server's connection.
    :param stop: when set, everything is stopped.
    :param metrics_port: of the numbers for Prometheus, on the address of the predictions; 0: none.
    """
    processes, store, record = hook.own_parts()
    with ExitStack() as stack:
        if metrics_port:
            listener = socket.create_server((hook.settings.host, metrics_port))
            stack.enter_context(in_background(Numbers(processes, record), listener))
        supervise(processes, store, hook.start, stop)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local_services.native_server.server", description=__doc__)
    parser.add_argument("--conn-id", default=LocalNativeHook.default_conn_name)
    parser.add_argument("--metrics-port", type=int, default=0, help="of the numbers for Prometheus (none)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    for name in ("httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    hook = LocalNativeHook(arguments.conn_id)
    if hook.settings.role is not Role.SERVER:
        sys.exit(f"Connection {arguments.conn_id!r}: `role` must be `server` for what this program runs.")
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(hook, stop, metrics_port=arguments.metrics_port)


if __name__ == "__main__":
    main()
