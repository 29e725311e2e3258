"""On a process's path, this writes down how long its event loop works without a pause.

In processor time of the loop's thread: a machine that is busy with other work makes every pause longer, but not this.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

#: Iterations that take less are not worth a line.
_SHORTEST_SECONDS = 0.005


def _watch(file: str) -> None:
    run_once = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def watched(loop: Any) -> None:
        began = time.thread_time()
        run_once(loop)
        seconds = time.thread_time() - began
        if seconds >= _SHORTEST_SECONDS:
            with open(file, "a", encoding="utf-8") as lines:  # noqa: PTH123 - no import more than it needs
                lines.write(f"{os.getpid()} {seconds:.4f}\n")

    asyncio.BaseEventLoop._run_once = watched  # type: ignore[attr-defined]


if "LOOP_WATCH_FILE" in os.environ:
    _watch(os.environ["LOOP_WATCH_FILE"])
