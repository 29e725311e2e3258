"""What a model is computed with: the kernel that it was packed for, or 32-bit floats where a processor cannot do that.

``classifier.json`` names a kernel that needs features: ``"kernel": {"name": "torch-bfloat16", "needs": ["amx_bf16"]}``.
Its package holds the weights in 32-bit floats, so that nothing has to be fetched, or packed twice, to fall back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

#: As ``candidate.json`` calls them.
TORCH_FLOAT32, TORCH_BFLOAT16 = "torch-float32", "torch-bfloat16"

#: Arithmetic in bfloat16, as Linux calls it; the faster comes first. Without any of them it takes several times as long
#: as in 32-bit floats.
BFLOAT16_FEATURES = ("amx_bf16", "avx512_bf16")

#: What the speed of a kernel depends on, as Linux calls it.
KNOWN_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", *reversed(BFLOAT16_FEATURES))

_CPUINFO = Path("/proc/cpuinfo")


def cpu_features() -> frozenset[str]:
    """Return what this machine's processor can do, as Linux calls it; nothing where the system does not tell."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    # x86 says "flags", ARM "Features"; all CPUs of a machine say the same.
    found = next((line for line in lines if line.partition(":")[0].strip() in ("flags", "Features")), "")
    return frozenset(found.partition(":")[2].split())


def kernel_here(facts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the kernel that a model is to be computed with, and the same once more where it had to fall back to it.

    :param facts: of ``classifier.json``.
    :return: name of the kernel, ``None`` where the files alone decide; and what answers say of it, mostly nothing.
    """
    asked = facts.get("kernel")
    if asked is None:
        return None, None
    missing = sorted(set(asked["needs"]) - cpu_features())
    if not missing:
        return asked["name"], None
    _log.warning(
        "The model was packed for %s, which needs %s. This processor has no %s, so the model is computed in %s: "
        "answers differ a little, and every answer says so. Serve it on a processor that has it, or release the model "
        "from one like this.",
        asked["name"],
        ", ".join(asked["needs"]),
        ", ".join(missing),
        TORCH_FLOAT32,
    )
    return TORCH_FLOAT32, TORCH_FLOAT32
