"""The states of all random number generators that a training draws from, in types that PyTorch loads safely."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch  # noqa: TID253  imported by trainer.py, once there is something to train


def random_states() -> dict[str, Any]:
    """Return those of this process: Python's, NumPy's and PyTorch's, on its GPU as well."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    states = {
        "python": random.getstate(),
        "numpy": (kind, torch.tensor(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go on where :func:`random_states` was called."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.random.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
