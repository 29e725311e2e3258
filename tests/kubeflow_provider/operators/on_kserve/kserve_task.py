"""Tasks for InferenceServices on a double, in either mode."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.triggers.inference_services import InferenceServiceTrigger

PAGE = Path(__file__).parents[4] / "plugins" / "kubeflow_provider" / "docs" / "operators" / "inference-services.md"
#: What the page says that more than one argument needs: to read what KServe can do.
READING = {("apiextensions.k8s.io", "customresourcedefinitions", "get"), ("", "configmaps", "get")}
#: Mode -> what KServe's own configuration calls it.
MODES = {"Knative": "Serverless", "Standard": "Standard"}
#: For tests of what differs between them.
IN_BOTH_MODES = pytest.mark.parametrize("world", MODES, indirect=True)


def event_of(deferred: TaskDeferred) -> dict[str, Any]:
    """Wait as the triggerer does."""
    path, arguments = deferred.trigger.serialize()
    assert path.rpartition(".")[2] == "InferenceServiceTrigger"
    event = asyncio.run(InferenceServiceTrigger(**arguments).wait())
    return dict(json.loads(json.dumps(event)))


def rights_of_the_page() -> set[tuple[str, str, str]]:
    """Return what the role on the operators' page gives."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    role, _ = yaml.safe_load_all(block)
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
