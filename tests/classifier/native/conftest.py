from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.classifier.packaging.archive import build_archive, open_archive
from tests.classifier.serving.servers import SETTINGS, VERSION, native


@pytest.fixture(scope="session")
def unpacked(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the unpacked archive of the tiny model; not to be changed."""
    folder = tmp_path_factory.mktemp("archive")
    build_archive(tiny_model, model="tiny", version=VERSION, target=folder / "tiny.mar", serving=SETTINGS)
    return open_archive(folder / "tiny.mar", folder / "unpacked")


@pytest.fixture
def server(unpacked: Path) -> Iterator[Any]:
    """A server of its own, because the test changes what it says of itself."""
    with native(unpacked) as server:
        yield server
