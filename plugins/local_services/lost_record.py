"""What becomes of a record that cannot be read: it is kept, and made anew from what is still known."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kubeflow_provider.exceptions import LiveVersionUnknownError
from local_services.record import BrokenRecordError, Record, ServedModel

log = logging.getLogger(__name__)


class LostRecord:
    """The record of a server, for whoever reads it: mended where it has to be.

    :param record: of what is live.
    :param found: what is still known without it, asked while the lock is held. A server that runs knows what it serves;
        without one the archives in its store are left, of which nobody here knows which was live: the registry does.
    """

    def __init__(self, record: Record, found: Callable[[], dict[str, ServedModel]]) -> None:
        self._record = record
        self._found = found

    def read(self) -> dict[str, ServedModel]:
        """Return every model by name. The caller does not hold the lock."""
        try:
            return self._record.read()
        except BrokenRecordError:
            with self._record.lock():
                self.mend()
            return self._record.read()

    def model(self, name: str) -> ServedModel:
        """Return one model; an empty one when it was never deployed. The caller does not hold the lock."""
        return self.read().get(name, ServedModel())

    def known(self, model: str) -> ServedModel:
        """Return one model, of which it must be known what is live. The caller does not hold the lock.

        :raises LiveVersionUnknownError: when it is not.
        """
        served = self.model(model)
        if not served.is_live_known:
            raise LiveVersionUnknownError(
                f"Which version of {model} was live is not known here, because live.json was broken (it is kept beside "
                "the new one). The next release, roll back or watch_releases takes it from the registry."
            )
        return served

    def mend(self) -> None:
        """Make a record anew that cannot be read, and say so. The caller holds the lock."""
        try:
            self._record.read()
        except BrokenRecordError as error:
            models = self._found()
            kept = self._record.replace_broken(models)
            live = (f"{name} {model.live or 'with an unknown live version'}" for name, model in models.items())
            log.error(
                "%s It is kept as %s, and was made anew from the server and its model store: %s.",
                error,
                kept.name,
                ", ".join(live) or "nothing is there",
            )
