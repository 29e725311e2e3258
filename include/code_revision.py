"""Which version of this project's code made a model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def code_revision() -> str:
    """Return ``$CODE_REVISION``, else the Git commit of the checkout, else an empty string.

    ``+changes`` follows the commit when files differ from it. An image has no checkout: its build sets the variable.
    """
    if revision := os.environ.get("CODE_REVISION"):
        return revision
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
