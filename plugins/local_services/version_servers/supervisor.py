"""Runs the processes of versions in a container that is there for nothing else, and takes orders from others."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from local_services.kserve_server.runtime.listening import private_socket
from local_services.roles import keep_started
from local_services.version_servers.loaded_versions import Store
from local_services.version_servers.management import Management, management_socket
from local_services.version_servers.processes import Processes

log = logging.getLogger(__name__)

#: Each of Airflow's tasks has one at a time.
_MOST_CONNECTIONS = 200
_END_SECONDS = 10.0


def ready_file(run_dir: Path) -> Path:
    """Return the file that is there once everything that was live has been brought back."""
    return run_dir / "ready"


def supervise(processes: Processes, store: Store, start: Callable[[], None], stop: threading.Event) -> None:
    """Keep everything running that was live, and carry out orders, until told to stop; then end all of it.

    :param processes: that it starts and ends.
    :param store: what versions are started from.
    :param start: starts the router and brings back what is missing of the live and the previous versions.
    :param stop: when set, no more orders are taken, the router ends, and then the servers: what is under way is
        answered.
    """
    processes.make_folders()
    ready = ready_file(processes.run_dir)
    ready.unlink(missing_ok=True)  # of a container that was killed
    management = Management(processes, store)

    def bring_back() -> None:
        start()
        ready.touch()

    def keep() -> None:
        try:
            keep_started(bring_back, stop)
        finally:
            stop.set()  # nobody brings anything back any more: the container shall begin anew

    with in_background(management, private_socket(management_socket(processes.run_dir))):
        # In a thread, as it may wait for the record's lock, whose holder may wait for a model to be loaded.
        threading.Thread(target=keep, daemon=True).start()
        stop.wait()
        management.close()
        processes.stop()
    log.info("Everything was stopped.")


@contextmanager
def in_background(app: Any, listener: socket.socket) -> Iterator[None]:
    """Answer at a socket, in a thread.

    :param app: an ASGI application.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(_END_SECONDS),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_END_SECONDS * 2)
