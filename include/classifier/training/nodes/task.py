"""What the nodes of a training and its step tell each other: documents in the store, which all of them reach."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from include.classifier.data.sources import write_whole
from include.classifier.training.base_model import BaseModelError
from include.classifier.training.checkpoints.store import TakenOverError
from include.classifier.training.problems import HardwareError, TrainingDivergedError
from include.contracts.rules.addresses import without_secrets
from include.contracts.settings import TrainingConfig

#: Below the folder of the training's states.
FOLDER = "nodes"

#: Holds the address of MLflow in a node's environment: no document of the store, because it may hold a password.
TRACKING_VARIABLE = "TRAINING_TRACKING_URI"

#: What a node says that no new try ends otherwise.
SAID = {kind.__name__: kind for kind in (TrainingDivergedError, BaseModelError, TakenOverError, HardwareError)}

_MOST_BYTES = 1 << 24


class NodesError(RuntimeError):
    """A training over several nodes has come to nothing; the message says why, and what may help."""


class Task(BaseModel):
    """What all nodes do.

    :param compared: texts whose tokens are written beside the model.
    :param checkpoints_uri: where states are kept, and the trained model in the end.
    :param identity: of the training, as :class:`~include.classifier.training.checkpoints.store.Checkpoints` has it.
    """

    dataset_uri: str
    labels: list[str]
    settings: TrainingConfig
    compared: list[str]
    tracking_run_id: str | None
    checkpoints_uri: str
    identity: dict[str, str]


class Ended(BaseModel):
    """A try that is over: once seen, it is so, whatever the cluster says of it later."""

    name: str
    uid: str
    reason: str


class Journal(BaseModel):
    """The tries of a training."""

    began_at: datetime
    ended: list[Ended] = []


class _Failure(BaseModel):
    kind: str
    message: str


T = TypeVar("T", bound=BaseModel)


class TaskFolder:
    """The folder of a training over nodes.

    :param uri: of the folder.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def write_task(self, task: Task) -> None:
        """Say what there is to do."""
        self._write("task.json", task)

    def task(self) -> Task:
        """Return what there is to do.

        :raises NodesError: when nobody has said so.
        """
        if (found := self._read(Task, "task.json")) is None:
            raise NodesError(
                f"{without_secrets(self.uri)}/task.json cannot be read from this node: is the store shared?"
            )
        return found

    def journal(self) -> Journal:
        """Return the tries so far; the first time is now."""
        found = self._read(Journal, "tries.json")
        if found is None:
            found = Journal(began_at=datetime.now(UTC))
            self._write("tries.json", found)
        return found

    def end(self, ended: Ended) -> None:
        """Write down that a try is over."""
        journal = self.journal()
        if ended.uid not in {each.uid for each in journal.ended}:
            self._write("tries.json", journal.model_copy(update={"ended": [*journal.ended, ended]}))

    def fail(self, attempt: int, error: Exception) -> None:
        """Say why a try has failed, where no new one ends otherwise."""
        self._write(f"failed-{attempt}.json", _Failure(kind=type(error).__name__, message=str(error)))

    def failure(self, attempt: int) -> Exception | None:
        """Return what a node has said of a try."""
        found = self._read(_Failure, f"failed-{attempt}.json")
        return SAID.get(found.kind, NodesError)(found.message) if found else None

    def _write(self, name: str, document: BaseModel) -> None:
        write_whole(f"{self.uri}/{name}", document.model_dump_json() + "\n")

    def _read(self, kind: type[T], name: str) -> T | None:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(f"{self.uri}/{name}")
        store.invalidate_cache()
        try:
            with store.open(path, "rb") as file:
                return kind.model_validate_json(file.read(_MOST_BYTES))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise NodesError(
                f"{without_secrets(self.uri)}/{name} is not what was written there ({error.error_count()} problems). "
                "Delete it, and start again."
            ) from None
