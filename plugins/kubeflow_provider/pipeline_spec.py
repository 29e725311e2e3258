"""A compiled pipeline (IR YAML), as it passes between operators and services."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

# libyaml where PyYAML was built with it: a compiled pipeline carries its components' source and is long.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """A compiled pipeline. Two are equal when they would do the same, wherever they come from.

    :param document: the pipeline spec.
    :param platform: the platform spec (Kubernetes settings), where there is one.
    :param source: where it comes from, for messages; the path of a local file.
    :param reference: ``pipeline_id`` and ``pipeline_version_id``, where it comes from a service that keeps it.
    """

    document: Mapping[str, Any]
    platform: Mapping[str, Any] | None = None
    source: str = field(default="", compare=False)
    reference: Mapping[str, str] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Name given to the pipeline in its source."""
        return str(self.document["pipelineInfo"]["name"])

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameter name -> ``parameterType``, and where given ``isOptional``, ``defaultValue``, ``literals`` (the
        values that are allowed) and ``description``."""
        return self.document["root"].get("inputDefinitions", {}).get("parameters", {})

    @property
    def sha256(self) -> str:
        """Hex digest of what the pipeline does: layout and comments of its file count for nothing."""
        return hashlib.sha256(json.dumps([self.document, self.platform], sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> bytes:
        """Return it as the KFP compiler writes it: one document, or two."""
        documents = [dict(self.document)] + ([dict(self.platform)] if self.platform else [])
        content: bytes = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, encoding="utf-8")
        return content

    def to_json(self) -> dict[str, Any]:
        """Return it as Kubeflow's API shows and takes it."""
        if not self.platform:
            return dict(self.document)
        return {"pipeline_spec": dict(self.document), "platform_spec": dict(self.platform)}
