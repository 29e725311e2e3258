"""Packs versions of a small model for the benchmark of switches; needs the pipeline half's Python.

``python -m benchmarks.versions STORE MODEL VERSION...`` prints the SHA-256 of each archive by version, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.models import write_distilbert
from benchmarks.reviews import read_reviews
from include.classifier.packaging.archive import build_archive


def main() -> None:
    """Write ``STORE/<version>/model-store/<model>.mar`` for each version."""
    store, model, *versions = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        trained = write_distilbert(Path(folder), read_reviews(), layers=2, width=128, heads=2)
        digests = {
            version: build_archive(
                trained,
                model=model,
                version=version,
                target=Path(store) / version / "model-store" / f"{model}.mar",
            ).sha256
            for version in versions
        }
    print(json.dumps(digests))


if __name__ == "__main__":
    main()
