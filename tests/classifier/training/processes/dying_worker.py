"""A process of a training that writes down each of its steps, and dies once where ``DIES`` says.

``worker:1:9``: the process of rank 1 is killed after step 9; ``leader:0:9``: the one of rank 0 kills what has started
it; ``weights:1:9``: after step 9 the weights of rank 1 are no numbers.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from include.classifier.training.checkpoints.resuming import KeepState
from include.classifier.training.processes import worker

ends = KeepState.on_step_end


def on_step_end(keep: KeepState, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    """Note the step, and die when it is time."""
    rank = os.environ["RANK"]
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{rank} {state.global_step}\n")
    ends(keep, args, state, control, **kwargs)
    who, dying, step = os.environ["DIES"].split(":")
    died = Path(f"{os.environ['LEDGER']}.died")
    if (dying, int(step)) == (rank, state.global_step) and not died.exists():
        died.touch()
        if who == "weights":
            for weights in kwargs["model"].parameters():
                weights.data.fill_(float("nan"))
            return
        os.kill(os.getpid() if who == "worker" else os.getppid(), signal.SIGKILL)
        signal.pause()  # The kernel ends it with its leader.


KeepState.on_step_end = on_step_end  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(worker.main())
