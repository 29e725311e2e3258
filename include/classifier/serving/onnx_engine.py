"""Runs a model in ONNX Runtime on the CPU: starts without PyTorch, and computes in 8-bit integers where packed so.

One row goes through the model at a time. That costs a CPU nothing, needs no padding, and no row's answer depends on
its neighbours: 8-bit activations are scaled by the largest value in the pass, whoever's it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .cpus import available_cpus

#: In the folder of a model that was packed for ONNX Runtime. Input ``input_ids``, int64 of shape (1, tokens); output
#: ``logits``, float32 of shape (1, classes).
MODEL_FILE = "model.onnx"


class OnnxEngine:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, *, threads: int) -> None:
        self.n_classes = int(session.get_outputs()[0].shape[-1])
        self._session = session
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    @classmethod
    def load(cls, folder: Path, *, threads: int | None) -> OnnxEngine:
        """Load ``model.onnx``.

        :param threads: default: one for each CPU.
        """
        import onnxruntime

        threads = threads or available_cpus()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Waiting threads would spin, and take the CPU from the server in front and from other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_mem_pattern = False  # Of use only where every pass has the same shape.
        options.log_severity_level = 3  # Errors.
        session = onnxruntime.InferenceSession(folder / MODEL_FILE, options, providers=["CPUExecutionProvider"])
        return cls(session, threads=threads)

    def probabilities(self, rows: Sequence[list[int]], before_pass: Callable[[], None]) -> list[list[float]]:
        """Return the probabilities of each row of token ids, shape (rows, classes).

        :param before_pass: is called before each row, from any thread; what it raises is raised.
        """

        def next_pass(row: list[int]) -> list[float]:
            before_pass()
            return self._pass(row)

        if self._pool is None or len(rows) == 1:
            return [next_pass(row) for row in rows]
        # Rows side by side: threads that share one row wait for each other in every layer.
        return list(self._pool.map(next_pass, rows))

    def _pass(self, row: list[int]) -> list[float]:
        import numpy as np

        (logits,) = self._session.run(None, {"input_ids": np.array([row], dtype=np.int64)})
        powers = np.exp(logits[0] - logits[0].max())
        return (powers / powers.sum()).tolist()
