"""Finds what a pipeline makes known to Kubeflow that was there before: what its importers name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.containers import tasks_of

#: Parameter by which the compiler hands an importer its address.
_URI = "uri"


def imported_uris(pipeline: PipelineSpec, parameters: Mapping[str, Any]) -> list[str]:
    """Return the addresses that a pipeline imports, as far as they are known before it runs.

    An address that another step finds out is not known, nor one that is handed on to a nested pipeline.

    :param parameters: of the run.
    """
    document = pipeline.document
    components = document.get("components", {})
    executors = document["deploymentSpec"].get("executors", {})
    own = document["root"].get("dag", {}).get("tasks", {}).values()
    values = {name: kind.get("defaultValue") for name, kind in pipeline.parameters.items()} | dict(parameters)
    uris = []
    for _, task in tasks_of(document):
        label = components.get(task.get("componentRef", {}).get("name"), {}).get("executorLabel")
        if "importer" in executors.get(label, {}):
            given = task.get("inputs", {}).get("parameters", {}).get(_URI, {})
            handed_on = values.get(given.get("componentInputParameter")) if task in own else None
            uris.append(given.get("runtimeValue", {}).get("constant") or handed_on)
    return [uri for uri in uris if isinstance(uri, str) and uri]
