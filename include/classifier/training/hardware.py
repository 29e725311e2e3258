"""What training computes with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from include.classifier.serving.cpus import SMALL_MODEL_PARAMETERS, available_cpus
from include.classifier.training.problems import HardwareError

if TYPE_CHECKING:
    from transformers import TrainingArguments

#: Of x86 CPUs, as PyTorch names them: AVX-512's since 2020 (Intel) and 2022 (AMD), and Intel's matrix unit.
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def limit_threads(parameters: int, processes: int = 1) -> None:
    """Let PyTorch start as many threads as are of use, unless ``OMP_NUM_THREADS`` says how many.

    :param parameters: size of the model.
    :param processes: that share the processors.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1 if parameters < SMALL_MODEL_PARAMETERS else max(1, available_cpus() // processes))


def mixed_precision(parameters: int, asked: str = "auto") -> dict[str, Any]:
    """Return the Trainer's precision settings.

    Weights and optimiser stay in float32 in any case; only the passes through the model are computed in less.

    :param parameters: size of the model; a small one has no multiplications that are worth the conversions on a CPU.
    :param asked: ``no``, ``bf16``, ``fp16``, or ``auto``: bf16 where GPU or CPU compute in it, fp16 on older GPUs, else
        none.
    :raises HardwareError: when it cannot be had.
    """
    import torch

    if asked == "no":
        return {}
    has_gpu = torch.cuda.is_available()
    gpu_has_bf16 = has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "fp16" and not has_gpu:
        raise HardwareError("training.mixed_precision: fp16 needs a GPU, and there is none here. Take bf16, or auto.")
    if asked == "bf16" and has_gpu and not gpu_has_bf16:
        raise HardwareError("training.mixed_precision: this GPU does not compute in bf16. Take fp16, or auto.")
    if has_gpu:
        return {"bf16": True} if gpu_has_bf16 and asked != "fp16" else {"fp16": True}
    # Without such instructions bf16 is emulated, and slower than float32.
    capabilities = torch.cpu.get_capabilities()
    is_of_use = parameters >= SMALL_MODEL_PARAMETERS and any(capabilities.get(name) for name in _BF16_INSTRUCTIONS)
    return {"bf16": True, "use_cpu": True} if asked == "bf16" or is_of_use else {}


def keep_to_one_gpu(arguments: TrainingArguments) -> TrainingArguments:
    """Return the Trainer's arguments, with one GPU for this process however many there are.

    The Trainer would give each of them a whole batch, and so make steps that nobody has asked for.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments
