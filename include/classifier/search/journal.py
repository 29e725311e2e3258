"""What of a search outlives its process: the trials that are over, in one file of the model store.

A file that is replaced whole needs no more of a store than all the others do: a database would not work in an object
store, and on many shared volumes only until two hosts have it open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from include.classifier.data.problems import DataError
from include.classifier.data.sources import write_whole
from include.classifier.search.trials import EndedTrial

FILE = "trials.json"


def digest(question: Mapping[str, Any]) -> str:
    """Return the digest of what a search asks; trials of another question are none of its own."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class Journal:
    """The trials that are over.

    :param folder_uri: of the search.
    :param question: see :func:`digest`.
    :raises DataError: when the folder holds trials of another question, or a file that is none of ours.
    """

    def __init__(self, folder_uri: str, question: str) -> None:
        self._uri = f"{folder_uri}/{FILE}"
        self._question = question
        self.trials: list[EndedTrial] = []
        self.seconds = 0.0
        if (found := _read(self._uri)) is not None:
            if found["question"] != question:
                raise DataError(
                    f"{self._uri}: this search was begun with other data, settings, bounds or seed, and its trials "
                    "cannot be compared with new ones. Start another search, or put back what was changed."
                )
            self.trials, self.seconds = found["trials"], found["seconds"]

    def add(self, trial: EndedTrial, *, seconds: float) -> None:
        """Write down that a trial is over.

        :param seconds: that the search has taken so far, with all tries of it.
        """
        self.trials.append(trial)
        self.seconds = seconds
        document = {
            "question": self._question,
            "seconds": round(seconds, 3),
            "trials": [each.as_json() for each in self.trials],
        }
        write_whole(self._uri, json.dumps(document) + "\n")


def _read(uri: str) -> dict[str, Any] | None:
    import fsspec

    try:
        with fsspec.open(uri, "rb") as file:
            found = json.loads(file.read())
        return {
            "question": str(found["question"]),
            "seconds": float(found["seconds"]),
            "trials": [EndedTrial.from_json(each) for each in found["trials"]],
        }
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{uri} cannot be read as the trials of a search ({error}). Start another search.") from None
