"""What training computes with."""

from __future__ import annotations

import os
from typing import Any

from include.classifier.serving.cpus import SMALL_MODEL_PARAMETERS, available_cpus

#: Of x86 CPUs, as PyTorch names them: AVX-512's since 2020 (Intel) and 2022 (AMD), and Intel's matrix unit.
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def limit_threads(parameters: int) -> None:
    """Let PyTorch start as many threads as are of use, unless ``OMP_NUM_THREADS`` says how many.

    :param parameters: size of the model.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1 if parameters < SMALL_MODEL_PARAMETERS else available_cpus())


def mixed_precision(parameters: int) -> dict[str, Any]:
    """Return the Trainer's precision settings: bf16 where GPU or CPU compute in it, fp16 on older GPUs, else none.

    Weights and optimiser stay in float32 in any case; only the passes through the model are computed in less.

    :param parameters: size of the model; a small one has no multiplications that are worth the conversions on a CPU.
    """
    import torch

    if torch.cuda.is_available():
        return {"bf16": True} if torch.cuda.is_bf16_supported(including_emulation=False) else {"fp16": True}
    # Without such instructions bf16 is emulated, and slower than float32.
    capabilities = torch.cpu.get_capabilities()
    if parameters >= SMALL_MODEL_PARAMETERS and any(capabilities.get(name) for name in _BF16_INSTRUCTIONS):
        return {"bf16": True, "use_cpu": True}
    return {}
