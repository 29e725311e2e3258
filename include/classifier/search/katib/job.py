"""One trial of a search as the Job of a Katib Trial: trains with its settings, and prints what each epoch reaches.

Katib's collector reads the lines ``<time> macro_f1=0.93``. What it has no field for, answers to the held-out rows and
why a training failed, goes into a file in the folder of the search.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from include.classifier.data.sources import write_whole
from include.classifier.progress import first_line
from include.classifier.search.katib.experiment import settings_of
from include.classifier.search.katib.outcomes import FOLDER
from include.classifier.search.objective import TrainingObjective, keeps_best
from include.classifier.search.trials import Course, EndedTrial, HopelessError, Teller, TrialEndedError
from include.classifier.training.epochs import Epoch
from include.contracts.search.document import Settings
from include.contracts.search.settings import SearchConfig
from include.contracts.settings import TrainingConfig

TASK_FILE = "task.json"

#: As an objective, told the name of a Trial.
Trains = Callable[[Any, Settings, Teller], None]

#: What a shell says of a process that was asked to end.
_ASKED_TO_END = 128 + signal.SIGTERM


def write_task(folder: str, objective: TrainingObjective, config: SearchConfig, *, rows: int) -> None:
    """Write down what all trials of a search have in common.

    :param rows: of the training data.
    """
    fields = {**vars(objective), "training": objective.training.model_dump(mode="json")}
    task = {"objective": fields, "search": config.model_dump(mode="json"), "rows": rows}
    write_whole(f"{folder}/{FOLDER}/{TASK_FILE}", json.dumps(task) + "\n")


def has_task(folder: str) -> bool:
    """Tell whether an earlier try of a search has begun with Katib."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(f"{folder}/{FOLDER}/{TASK_FILE}")
    return bool(filesystem.exists(path))


class LineTeller:
    """Tells Katib's collector by lines, and the search by a file.

    :param settings: of the trial.
    """

    def __init__(self, uri: str, settings: Settings, course: Course) -> None:
        self._uri = uri
        self._course = course
        self._told = {"number": 0, "state": "finished", "settings": settings}

    def begun(self, tracking_run_id: str | None) -> None:
        """Keep where the training can be seen."""
        self._told["tracking_run_id"] = tracking_run_id

    def epoch(self, epoch: Epoch) -> None:
        """Say what an epoch has reached."""
        value = self._course.add(epoch)
        self._write()
        # The time makes the last line the latest: of two at the same time the server may take either.
        print(f"{datetime.now(UTC).isoformat()} {self._course.objective}={value!r}", flush=True)

    def failed(self, reason: str, *, is_hopeless: bool) -> None:
        """Say why it ends before its time."""
        self._write(state="failed", reason=reason[:500], is_hopeless=is_hopeless)

    def _write(self, **more: Any) -> None:
        course = self._course
        kept = {"value": course.value, "epochs": len(course.epochs), "course": list(course.values)}
        if course.epochs:
            kept["predicted"] = course.kept.predicted
        told = EndedTrial(**{**self._told, **kept, **more})
        write_whole(self._uri, json.dumps(told.as_json()) + "\n")


def run(folder: str, trial: str, assignments: Mapping[str, str], *, objective: Trains | None = None) -> int:
    """Train, and return the exit code of the process.

    :param folder: URI of the search.
    :param trial: name of the Trial.
    :param assignments: setting -> its value as text.
    :param objective: instead of the one that the task names.
    """
    import fsspec

    with fsspec.open(f"{folder}/{FOLDER}/{TASK_FILE}", "rb") as file:
        task = json.loads(file.read())
    training = TrainingConfig.model_validate(task["objective"]["training"])
    config = SearchConfig.model_validate(task["search"])
    named = [{"name": name, "value": value} for name, value in assignments.items()]
    settings = settings_of(named, config.space_for(training))
    course = Course(keeps_best(training, settings, rows=task["rows"]), config.objective)
    teller = LineTeller(f"{folder}/{FOLDER}/{trial}.json", settings, course)
    train: Trains = objective or TrainingObjective(**{**task["objective"], "training": training})
    try:
        train(trial, settings, teller)
    except TrialEndedError:  # early stopping: Katib knows
        return _ASKED_TO_END
    except HopelessError as error:
        teller.failed(str(error), is_hopeless=True)
        print(f"These settings cannot be trained with: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        teller.failed(first_line(error), is_hopeless=False)
        raise
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run from a command line: folder, name of the Trial, and ``--setting=value`` for each setting."""
    folder, trial, *rest = arguments
    pairs = [each.removeprefix("--").partition("=") for each in rest]
    return run(folder, trial, {name.replace("-", "_"): value for name, _, value in pairs})


def _end(*_: object) -> None:
    raise TrialEndedError


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    os.environ.pop("PROGRESS_FILE", None)
    sys.exit(main(sys.argv[1:]))
