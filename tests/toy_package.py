"""Publishes a toy model in TorchServe's format, sound or broken in one way.

The standard library only: a pipeline step calls it in the pipeline half's environment, tests call it in the other one.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABELS = ("bad", "good")
TEXTS = ("a good place", "a bad place", "good food", "bad service")

#: What users say and no smoke test does: a model that ``breaks in use`` answers wrongly from then on.
USERS_WORD = "please"

#: TorchServe's worker imports PyTorch, for two seconds, to know a tensor in an answer when it sees one. A toy has none,
#: and a worker looks into its archive first.
_NO_TORCH = "class Tensor:\n    pass\n"

_HANDLER = Path(__file__).with_name("toy_handler.py")


def publish(folder: Path, *, model: str, version: str, behaviour: str = "sound") -> dict[str, Any]:
    """Write the package of a version and its ``candidate.json``, and return that document.

    :param folder: of the release; made when absent.
    :param behaviour: ``sound``, or a defect that ``toy_handler.py`` knows. The golden examples are a sound model's.
    """
    archive = folder / "model-store" / f"{model}.mar"
    archive.parent.mkdir(parents=True)
    described = {
        "modelName": model,
        "modelVersion": version,
        "handler": "toy_handler.py:handle",
        "configFile": "model-config.yaml",
    }
    manifest = {"createdOn": "", "runtime": "python", "model": described, "archiverVersion": "0.12.0"}
    about = {"behaviour": behaviour, "built_as": version, "users_word": USERS_WORD}
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("model-config.yaml", "minWorkers: 1\nmaxWorkers: 1\n")  # as real packages name theirs
        file.writestr("toy.json", json.dumps(about))
        file.write(_HANDLER, _HANDLER.name)
        file.writestr("torch.py", _NO_TORCH)
    return write_candidate(
        folder, model=model, version=version, labels=LABELS, golden_examples=[_golden(text) for text in TEXTS]
    )


def write_candidate(
    folder: Path, *, model: str, version: str, labels: Sequence[str], golden_examples: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Write a complete ``candidate.json`` for the archive that lies in ``model-store``, and return the document."""
    file = f"model-store/{model}.mar"
    content = (folder / file).read_bytes()
    document = {
        "schema_version": 1,
        "model": model,
        "version": version,
        "created_at": "2026-01-02T00:10:00+00:00",
        "archive": {
            "uri": folder.as_uri(),
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
        },
        "labels": list(labels),
        "dataset": {
            "uri": f"{folder.as_uri()}/dataset/dataset.json",
            "sha256": "d" * 64,
            "train_rows": 80,
            "evaluation_rows": 20,
        },
        "metrics": {"candidate": _scores(0.9, version), "live": None, "baseline": _scores(0.6, None)},
        "golden_examples": list(golden_examples),
        "serving": {"load_seconds": 3.0, "p50_ms": 5.0, "p95_ms": 8.0, "parity_rows": 4, "largest_difference": 0.0},
        "training": {
            "base_model": "toy",
            "base_model_revision": None,
            "parameters": {},
            "seconds": 1.0,
            "samples_per_second": 80.0,
            "epochs_run": 1,
        },
        "code_revision": "unknown",
        "packages": {},
        "tracking_run_id": None,
    }
    (folder / "candidate.json").write_text(json.dumps(document), encoding="utf-8")
    return document


def _scores(macro_f1: float, version: str | None) -> dict[str, Any]:
    figures = {"accuracy": macro_f1, "macro_f1": macro_f1, "log_loss": 0.3, "expected_calibration_error": 0.04}
    return {"version": version, **figures, "per_class": {}, "slices": []}


def _golden(text: str) -> dict[str, Any]:
    values = (0.2, 0.8) if "good" in text else (0.7, 0.3)
    return {
        "text": text,
        "label": "good" if "good" in text else "bad",
        "probabilities": dict(zip(LABELS, values, strict=True)),
    }
