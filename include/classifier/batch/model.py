"""The packed model that scores: the archive that was released, byte for byte, with the code in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from include.classifier.native.model import ServedModel
from include.classifier.packaging.archive import ArchiveError, open_archive
from include.contracts.batch.documents import Plan


class Scores(NamedTuple):
    """What the model says of some texts; each list has one entry for each."""

    classes: list[int]
    probabilities: list[float]
    truncated: list[bool]


class Scorer:
    """A model that is ready to score.

    :param predictor: the archive code's own, or one like it.
    """

    def __init__(self, predictor: Any) -> None:
        self.labels: list[str] = list(predictor.labels)
        self._predictor = predictor

    def read(self, texts: Sequence[str]) -> Any:
        """Return what the model reads of texts; not from two threads at once."""
        return self._predictor.tokenise(texts)

    def score(self, tokens: Any) -> Scores:
        """Return what the model says of texts that were read; its engine sorts them by length and batches them."""
        import numpy as np

        values = np.asarray(self._predictor.probabilities(tokens.input_ids), dtype=np.float64)
        values = values.reshape(len(tokens.input_ids), len(self.labels))
        classes = values.argmax(axis=1)
        best = values[np.arange(len(classes)), classes]
        # As many digits as the endpoint answers.
        return Scores(classes.tolist(), [round(value, 6) for value in best.tolist()], list(tokens.truncated))


#: Returns a context with the model of a plan.
Loader = Callable[[Plan], Any]


def loader(archive_uri: str, *, workers: int) -> Loader:
    """Return what loads the model of an archive.

    :param archive_uri: of the .mar.
    :param workers: steps that compute on this machine side by side, and share its CPUs.
    """

    @contextmanager
    def load(plan: Plan) -> Iterator[Scorer]:
        with tempfile.TemporaryDirectory(prefix="predict-") as folder:
            unpacked = open_archive(archive_uri, Path(folder), sha256=plan.archive_sha256)
            model = ServedModel(unpacked, workers=workers)
            if (model.name, model.version) != (plan.model, plan.version):
                raise ArchiveError(
                    f"{archive_uri} holds {model.name} {model.version}, not {plan.model} {plan.version}: look what the "
                    "release's candidate.json says."
                )
            yield Scorer(model.predictor)

    return load
