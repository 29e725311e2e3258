"""The GPU that tests and benchmarks compute on; ``python -m benchmarks.gpu`` says which, or why there is none.

Without one nothing is tried or measured, and that is an error. ``GPU_TRIAL=cpu`` tries the tests and the benchmarks
themselves, on a processor: they are small then, and nothing that they measure is written down.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.harness import RESULTS

if TYPE_CHECKING:
    from benchmarks.harness import Benchmark

TRIAL_VARIABLE = "GPU_TRIAL"
_MIB = 2**20


class NoGpuError(RuntimeError):
    """Nothing here can be computed on a GPU; the message says what is missing."""


def is_trial() -> bool:
    """Tell whether a processor takes the place of the GPU.

    :raises ValueError: when the variable names something else.
    """
    asked = os.environ.get(TRIAL_VARIABLE, "")
    if asked not in ("", "cpu"):
        raise ValueError(f"{TRIAL_VARIABLE} is {asked!r}: it may be cpu, to try the tests themselves, or empty.")
    return asked == "cpu"


def device() -> str:
    """Return what is computed on, as torch names it: the first GPU.

    :raises NoGpuError: when there is none.
    """
    import torch

    if is_trial():
        # So that a machine with a GPU tries the same.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return "cpu"
    if torch.version.cuda is None:
        raise NoGpuError(
            f"PyTorch {torch.__version__} is the build for processors alone. `make test-gpu` installs the build for "
            "GPUs into .venv/gpu, as far as pip finds it where it is told to look: delete that folder, and say with "
            "GPU_TORCH which wheel it is, for example GPU_TORCH='torch==2.13.0+cu126'."
        )
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        raise NoGpuError(
            f"PyTorch {torch.__version__} finds no GPU to compute on: {str(error).splitlines()[0]} See whether "
            f"`nvidia-smi` lists one, and whether its driver is new enough for CUDA {torch.version.cuda}; a container "
            "has to be given it (docker run --gpus all)."
        ) from None
    return "cuda:0"


def describe() -> str:
    """Return in words what is computed on."""
    import torch

    if is_trial():
        return "a processor in the place of a GPU"
    found = torch.cuda.get_device_properties(0)
    return (
        f"{torch.cuda.device_count()} of {found.name}, {found.total_memory / 2**30:.0f} GiB, "
        f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    )


def used_mib() -> float:
    """Return how much memory of the first GPU all processes use, in MiB; nought in a trial."""
    import torch

    if is_trial():
        return 0.0
    free, total = torch.cuda.mem_get_info(0)
    return (total - free) / _MIB


def write(benchmark: Benchmark) -> str:
    """Write the results of a benchmark, unless it was only tried; return where they are."""
    if not is_trial():
        return str(benchmark.write(RESULTS))
    with TemporaryDirectory() as folder:
        benchmark.write(Path(folder))
    return "nothing is written: it was tried on a processor"


def main() -> None:
    """Say what is computed on."""
    try:
        device()
    except (NoGpuError, ValueError) as error:
        sys.exit(str(error))
    print(f"Computing on {describe()}.")


if __name__ == "__main__":
    main()
