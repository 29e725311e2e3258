"""Writes the JSON Schemas of the documents from the classes: ``python -m include.contracts.schemas [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from include.contracts.dataset import Dataset
from include.contracts.documents import Written
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.pipeline_outputs import NamedOutputs, PipelineModel
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring.drift import DriftDocument
from include.contracts.search.document import SearchDocument
from include.contracts.version.released import ReleaseDocument

DOCUMENTS: tuple[type[Written], ...] = (
    TextClassifierCandidate,
    KubeflowModelCandidate,
    Dataset,
    ReleaseDocument,
    SearchDocument,
    PipelineModel,
    NamedOutputs,
    DriftDocument,
)
#: Two documents have the same file: the one of the first kind that there was has its schema's plain name.
_NAMES: dict[type[Written], str] = {KubeflowModelCandidate: "candidate.kubeflow-model.schema.json"}


def path_of(document: type[Written]) -> Path:
    """Return where a document's schema lies."""
    return Path(__file__).with_name(_NAMES.get(document, document.file.replace(".json", ".schema.json")))


def schema_of(document: type[Written]) -> str:
    """Return the text of a document's schema."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | document.model_json_schema() | {"title": document.file}, indent=2) + "\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> int:
    """Write them; with ``--check`` only say whether one is stale."""
    stale = [each for each in DOCUMENTS if _text(path_of(each)) != schema_of(each)]
    if "--check" in sys.argv[1:]:
        for document in stale:
            print(f"{path_of(document)} is stale: run `make docs`.", file=sys.stderr)
        return 1 if stale else 0
    for document in stale:
        path_of(document).write_text(schema_of(document), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
