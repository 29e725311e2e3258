"""What a TorchServe has to bring back when it is started again: written to one file, changed under one lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError


@dataclass(slots=True, kw_only=True)
class StoredVersion:
    """One version as it was deployed.

    :param archive: file name in the model store.
    :param sha256: its digest when it was copied.
    :param settings: ``serving`` section of the model's YAML at that time.
    """

    archive: str
    sha256: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ServedModel:
    """One model.

    :param live: the version that users reach, ``None`` before the first promotion.
    :param previous: the version that was live before, kept warm.
    :param versions: every version in the model store.
    """

    live: str | None = None
    previous: str | None = None
    versions: dict[str, StoredVersion] = field(default_factory=dict)


class Record:
    """The file of one state folder.

    :param state_dir: its folder; made when it is absent.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "live.json"

    def read(self) -> dict[str, ServedModel]:
        """Return every model by name; empty before the first deployment.

        :raises InvalidRequestError: when the file is damaged.
        """
        try:
            models = json.loads(self._path.read_text(encoding="utf-8"))["models"]
            return {name: _served_model(model) for name, model in models.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidRequestError(
                f"{self._path} is damaged ({type(error).__name__}): it says which versions are live. Restore it, or "
                "move it away and release the models again."
            ) from error

    def model(self, name: str) -> ServedModel:
        """Return one model; an empty one when it was never deployed."""
        return self.read().get(name, ServedModel())

    def write(self, name: str, model: ServedModel) -> None:
        """Put a model into the file, or take it out when it has no version left. The caller holds the lock."""
        models = self.read()
        if model.versions:
            models[name] = model
        else:
            models.pop(name, None)
        text = json.dumps({"models": {key: asdict(value) for key, value in models.items()}}, indent=2, sort_keys=True)
        part = self._path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave an empty record behind the new name
        part.replace(self._path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from starting the server or changing a model meanwhile.

        The kernel lets go of the lock when its holder dies, however it dies.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._path.parent / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _served_model(document: dict[str, Any]) -> ServedModel:
    versions = {name: StoredVersion(**version) for name, version in document["versions"].items()}
    return ServedModel(live=document["live"], previous=document["previous"], versions=versions)
