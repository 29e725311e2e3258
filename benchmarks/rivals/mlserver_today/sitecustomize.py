"""Lets MLServer's Hugging Face runtime start with a PyTorch of today; it is on the path of that side's process only.

The runtime asks Optimum 1 for its ONNX pipelines, which serve no model here, and which cannot be imported any more:
they take helpers of ONNX export from PyTorch that it has not had since 2.9.
"""

import sys
from types import ModuleType

pipelines = ModuleType("optimum.pipelines")
vars(pipelines).update(ORT_SUPPORTED_TASKS={"text-classification": {}}, pipeline=None)
sys.modules["optimum.pipelines"] = pipelines
