"""The loop that controllers run in: they look at the whole world whenever something in it may have changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from tests.doubles.kubernetes.clock import Clock
from tests.doubles.kubernetes.store import Store

log = logging.getLogger(__name__)

#: When nothing has changed: what is due after a while is noticed then.
_LOOKS_EVERY_SECONDS = 0.05


class ControllerManager:
    """Calls each controller again and again until the cluster stops.

    An exception in a controller is logged and ends the pass, as in a real one: the next pass tries again.
    """

    def __init__(self, store: Store, clock: Clock, controllers: Sequence[Callable[[], None]]) -> None:
        self._store = store
        self._clock = clock
        self._controllers = controllers
        self._thread = threading.Thread(target=self._loop, name="controllers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.join(5)

    def _loop(self) -> None:
        while not self._clock.stopped:
            for controller in self._controllers:
                try:
                    controller()
                except Exception:
                    log.exception("A controller of the double failed")
            with self._store.changed:
                self._store.changed.wait(_LOOKS_EVERY_SECONDS)
