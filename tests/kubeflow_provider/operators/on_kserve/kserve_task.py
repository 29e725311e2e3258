"""Tasks for InferenceServices on a double, in either mode."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.triggers.inference_services import InferenceServiceTrigger
from tests.rights import Right, blocks_of_page, given_by

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


def rights_of_the_page() -> set[Right]:
    """Return what the first role on the operators' page gives, which is all that they need."""
    return given_by(blocks_of_page("inference-services")[0])
