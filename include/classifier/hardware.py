"""What training computes with."""

from __future__ import annotations

import os
from typing import Any

from include.classifier.serving.handler import available_cpus

#: A model below this size computes on one thread: more gain nothing, and wherever another process wants a CPU they
#: wait for each other (measured with 400,000 parameters on two busy CPUs: four times slower with two threads).
_SMALL_MODEL_PARAMETERS = 5_000_000


def limit_threads(parameters: int) -> None:
    """Let PyTorch start as many threads as are of use, unless ``OMP_NUM_THREADS`` says how many.

    :param parameters: size of the model.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1 if parameters < _SMALL_MODEL_PARAMETERS else available_cpus())


def mixed_precision() -> dict[str, Any]:
    """Return the Trainer's precision settings: bf16 where the GPU has it, else fp16; full precision on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return {}
    return {"bf16": True} if torch.cuda.is_bf16_supported(including_emulation=False) else {"fp16": True}
