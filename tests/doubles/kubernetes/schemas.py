"""What the schema of a custom resource makes of an object."""

from __future__ import annotations

from typing import Any


def undeclared(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the paths of fields that a schema does not know: to apply them on the server is an error."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    if isinstance(value, list) and "items" in schema:
        found = [undeclared(item, schema["items"], f"{path}[{index}]") for index, item in enumerate(value)]
        return [lost for each in found for lost in each]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    inside = [undeclared(value[key], known[key], f"{path}.{key}") for key in value if key in known]
    return [f"{path}.{key}" for key in value if key not in known] + [lost for each in inside for lost in each]
