"""What a thousand waiting runs cost: deferred tasks in a real triggerer, against a Kubeflow Pipelines server's double.

Ours asks for all runs of a connection together; the other side asks for each by itself, as triggers usually do.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from benchmarks.deferred import BLOCKING_SECONDS, DeferredTasks, airflow_settings, triggerer
from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.argo import Workflow
from tests.doubles.kfp_server.state import RunRow

OTHER = "one by one"
INTERVAL_SECONDS = 30
#: Measured for so long once every run has been asked for and the pace is that of old runs.
WINDOW_SECONDS = 2 * INTERVAL_SECONDS
FINISHED_RUNS = 10
_LONGEST_START_SECONDS = 300
_NAMESPACE = "team"
_SPEC = {"pipelineInfo": {"name": "train"}}

REQUESTS, CPU, ALL_CPU = "requests", "CPU of the triggers' process", "CPU of the whole triggerer"
BUSY, BLOCKS, WARNINGS = "longest work of the event loop", "blocks of its own", "'blocked' warnings by whatever"
DELAY, MEMORY = "longest delay", "memory"


def main() -> None:
    """Measure, and write ``results/waiting.json``."""
    given = arguments(__doc__ or "", sizes=[100, 300, 1000], pairs=3).parse_args()
    clean_up_when_told_to_stop()
    benchmark = Benchmark(
        name="waiting",
        title="Waiting runs",
        sides={OURS: "one list for a hundred runs", OTHER: "one GET for each run and poll, with the same pace"},
        sizes=given.sizes,
        size_unit="runs",
        pairs=given.pairs,
        units={
            REQUESTS: "a minute",
            CPU: "of a core",
            ALL_CPU: "of a core",
            BUSY: "s",
            BLOCKS: "",
            WARNINGS: "",
            DELAY: "s",
            MEMORY: "MiB",
        },
        notes=(
            f"A real `airflow triggerer` with a deferred task for each run; runs are an hour old and asked for every "
            f"{INTERVAL_SECONDS} s; measured for {WINDOW_SECONDS} s, in which {FINISHED_RUNS} runs end.",
            "The delay is the time from a run's end at the server to its task being scheduled again, Airflow's own "
            "second or two included.",
            "The triggerer's CPU includes what Airflow does every second for each trigger, whoever waits.",
            "The server is the tests' double, in the benchmark's own process.",
            "The longest work of the event loop is processor time between two of its pauses; blocks of its own are "
            f"those of more than {BLOCKING_SECONDS} s, each of which brings Airflow's warning. Airflow measures by the "
            "clock, so on a machine that is busy with other work it warns whoever waits.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder:
        home = Path(folder)
        os.environ |= airflow_settings(home)
        tasks = DeferredTasks(max(given.sizes))
        for size, side in benchmark.runs():
            benchmark.add(size, side, measure(home, tasks, size, side))
    judge(benchmark)
    print(benchmark.write())


def judge(benchmark: Benchmark) -> None:
    """Compare what was measured at the largest size with what was to be reached."""
    size = max(benchmark.sizes)

    def ours(what: str) -> float:
        return benchmark.at(what, size).sides[OURS].median

    benchmark.require(f"times fewer requests, {size} runs", benchmark.by_ours(REQUESTS, size), at_least=50)
    benchmark.require(f"share of one core, {size} runs", ours(CPU), at_most=0.1)
    benchmark.require(f"blocks of the event loop of its own, {size} runs", ours(BLOCKS), at_most=0)
    # A round of lists and the request for the run itself come on top, and the triggerer's second to hand it over.
    benchmark.require("longest delay of a notice, in intervals", ours(DELAY) / INTERVAL_SECONDS, at_most=1.2)
    smallest = min(benchmark.sizes)
    if size > smallest:
        used = ours(MEMORY) - benchmark.at(MEMORY, smallest).sides[OURS].median
        benchmark.require("KiB of memory for each waiting run", used * 1024 / (size - smallest))


def measure(home: Path, tasks: DeferredTasks, size: int, side: str) -> dict[str, float]:
    """Run a triggerer with so many waiting runs and return its figures."""
    with kfp_server(multi_user=True, namespaces=(_NAMESPACE,)) as server:
        rows = [_add_run(server) for _ in range(size)]
        connection = {"conn_type": "kubeflow_pipelines", "host": server.url, "extra": {"namespace": _NAMESPACE}}
        tasks.defer([_trigger(side, row.run_id) for row in rows])
        with triggerer(home, {"AIRFLOW_CONN_PIPELINES_DEFAULT": json.dumps(connection)}) as running:
            _wait_until_all_are_asked_for(server, size)
            time.sleep(INTERVAL_SECONDS / 2)
            requests, warnings, busy = len(server.requests), running.warnings(), len(running.busy_seconds())
            spent, began = running.cpu_seconds(), time.monotonic()
            delays = _end_some(tasks, rows)
            time.sleep(max(0.0, began + WINDOW_SECONDS - time.monotonic()))
            seconds = time.monotonic() - began
            now_spent, worked = running.cpu_seconds(), running.busy_seconds()[busy:]
            return {
                REQUESTS: (len(server.requests) - requests) * 60 / seconds,
                CPU: (now_spent["runner"] - spent["runner"]) / seconds,
                ALL_CPU: (now_spent["all"] - spent["all"]) / seconds,
                BUSY: max(worked, default=0.0),
                BLOCKS: sum(seconds > BLOCKING_SECONDS for seconds in worked),
                WARNINGS: running.warnings() - warnings,
                DELAY: max(delays),
                MEMORY: running.runner_bytes() / 2**20,
            }


def _trigger(side: str, run_id: str) -> Any:
    from benchmarks.one_by_one import OneByOneTrigger
    from kubeflow_provider.triggers.pipelines import PipelineRunTrigger

    now = datetime.now(tz=UTC)
    make = PipelineRunTrigger if side == OURS else OneByOneTrigger
    return make(
        run_id=run_id,
        conn_id="pipelines_default",
        deadline=now + timedelta(hours=12),
        started_at=now - timedelta(hours=1),
        poll_interval_seconds=INTERVAL_SECONDS,
    )


def _add_run(server: KfpServer) -> RunRow:
    """Add a run that is in its second of three steps."""
    run_id = str(uuid4())
    row = RunRow(
        run_id=run_id,
        display_name=f"reviews [{run_id}]",
        experiment_id="",
        namespace=_NAMESPACE,
        workflow=Workflow(run_id=run_id, documents=[_SPEC], parameters={}, folder=Path()),
        reference={"pipeline_id": str(uuid4()), "pipeline_version_id": str(uuid4())},
        service_account="default-editor",
        runtime_config={"parameters": {"model": "reviews", "version": "20260101000000", "epochs": 2}},
        is_scripted=True,
        script=[{"state": "RUNNING", "steps": [("preprocess", "SUCCEEDED"), ("train", "RUNNING")]}],
        created=time.time() - 3600,
    )
    row.next_of_script()
    server.runs[run_id] = row
    return row


def _wait_until_all_are_asked_for(server: KfpServer, size: int) -> None:
    deadline = time.monotonic() + _LONGEST_START_SECONDS
    asked: set[str] = set()
    seen = 0
    while len(asked) < size:
        if time.monotonic() > deadline:
            raise RuntimeError(f"After {_LONGEST_START_SECONDS} s only {len(asked)} of {size} runs were asked for.")
        time.sleep(0.5)
        requests = server.requests[seen:]
        seen += len(requests)
        for request in requests:
            if "/runs/" in request.path:
                asked.add(request.path.rpartition("/")[2])
            elif filter := request.query.get("filter"):
                asked.update(json.loads(unquote(filter))["predicates"][0]["string_values"]["values"])


def _end_some(tasks: DeferredTasks, rows: Sequence[RunRow]) -> list[float]:
    """Let some runs end, spread over an interval; return the seconds until their tasks were scheduled again."""
    chosen = random.sample(range(len(rows)), min(FINISHED_RUNS, len(rows)))
    ended: dict[int, float] = {}
    delays: dict[int, float] = {}
    began = time.monotonic()
    deadline = began + 4 * INTERVAL_SECONDS
    while len(delays) < len(chosen) and time.monotonic() < deadline:
        now = time.monotonic()
        while len(ended) < len(chosen) and now - began >= len(ended) * INTERVAL_SECONDS / len(chosen):
            index = chosen[len(ended)]
            rows[index].script = ["SUCCEEDED"]
            rows[index].set_state("SUCCEEDED")
            ended[index] = now
        for index in tasks.resumed() - delays.keys():
            delays[index] = now - ended[index]
        time.sleep(0.25)
    return [*delays.values(), *(deadline - at for index, at in ended.items() if index not in delays)]


if __name__ == "__main__":
    main()
