"""The difference of two objects as a JSON merge patch."""

from __future__ import annotations

from typing import Any


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the patch that makes ``after`` of ``before`` (RFC 7386): what is gone is an explicit null.

    Only what changes is in it, so that fields of others stay theirs. A client that leaves nulls out can remove nothing,
    neither an environment variable's field nor ``canaryTrafficPercent``.
    """
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif value != old or key not in before:
            patch[key] = value
    return patch
