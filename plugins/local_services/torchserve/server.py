"""Keeps TorchServe running in a container of its own, with everything that was live (docker-compose.yaml).

``python -m local_services.torchserve.server`` starts the server of a ``torchserve`` connection whose ``role`` is
``server``, brings it back when it dies, and stops it at SIGTERM. Airflow's processes have a connection to the same
folders with the role ``client``.
"""

from __future__ import annotations

import argparse
import logging
import signal
from threading import Event

from local_services.roles import keep_started
from local_services.torchserve.hook import TorchServeHook

log = logging.getLogger(__name__)


def keep_running(hook: TorchServeHook, stop: Event) -> None:
    """Start the server whenever it is not running, until told to stop.

    :param hook: of the server's connection.
    :param stop: when set, the server is stopped.
    """
    keep_started(hook.start, stop)
    hook.stop()
    log.info("TorchServe was stopped.")


def main() -> None:
    """Keep the server running until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local_services.torchserve.server", description=__doc__)
    parser.add_argument("--conn-id", default="serving_default")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keep_running(TorchServeHook(arguments.conn_id), stop)


if __name__ == "__main__":
    main()
