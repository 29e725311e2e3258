"""What the tests of this folder compute on: the machine's first GPU. Without one they fail, and say what is missing.

``make test-gpu`` runs them, and nothing else does: no tier of the tests has the marker ``gpu``. With ``GPU_TRIAL=cpu``
they run on a processor, so that whoever changes them sees that every line still runs.
"""

from __future__ import annotations

import pytest

from benchmarks import gpu
from tests.classifier.training.small_trainings import without_dropout


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    """What is computed on, as torch names it."""
    try:
        return gpu.device()
    except gpu.NoGpuError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base model without dropout: what is left to differ between a GPU and a processor is rounding."""
    return without_dropout(tmp_path_factory.mktemp("base") / "model")
