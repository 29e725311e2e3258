"""Tasks for InferenceServices on a double, in either mode."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.triggers.inference_services import InferenceServiceTrigger

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
