"""Runs as real servers told them: 2.17.0 from its stock manifests, and the preview of 3.0 of August 2026.

They are shortened: of what nobody reads here (ids of rows, their history, inputs and outputs) nothing is left.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def captured_run(name: str) -> dict[str, Any]:
    """Return the document of a run, by the name of its file."""
    document: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return document
