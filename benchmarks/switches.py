"""What users notice of new versions: requests that fail, and latency, while one version after the other goes live.

A version goes live as in a release: its archive is loaded beside the live one, asked once, promoted, and the version
before the previous one is taken out. The other side is the same load without any of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.deferred import airflow_settings
from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop
from benchmarks.load import ROOT, Target, asking, figures
from benchmarks.reviews import pick, read_reviews
from include.contracts.settings import ServingConfig

if TYPE_CHECKING:
    from kubeflow_provider.services import ModelVersion
    from local_services.torchserve.hook import TorchServeHook

CALM = "no switches"
MODEL = "reviews"
FAILED, REQUESTS, P50, P95, P99 = "failed", "requests", "median", "95th percentile", "99th percentile"
LONGEST, SWITCH = "longest", "each switch"
#: Live, previous and next.
_VERSIONS = ("20260101000000", "20260102000000", "20260103000000")
_PIPELINES_PYTHON = ROOT / ".venv" / "pipelines" / "bin" / "python"
#: Without a pause the clients would take all of the machine, and the next version would take minutes to load.
_PAUSE_SECONDS = 0.05
_TEXTS = 64


def main() -> None:
    """Measure, and write ``results/switches.json``."""
    parser = arguments(__doc__ or "", sizes=[1, 4, 8], pairs=1, counted="numbers of clients")
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--calm-seconds", type=float, default=30)
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    benchmark = _benchmark(given)
    with tempfile.TemporaryDirectory(prefix="switches-") as name:
        os.environ |= airflow_settings(Path(name))
        from tests.serving_support import torchserve

        with torchserve(str(_PIPELINES_PYTHON), Path(name)) as server:
            versions = publish(server.store)
            releases = Releases(server.hook, versions)
            releases.switch()
            for clients, side in benchmark.runs():
                work = releases.switches(given.switches) if side == OURS else _wait(given.calm_seconds)
                benchmark.add(clients, side, measure(server.hook, work, clients=clients))
    for clients in given.sizes:
        failed = benchmark.at(FAILED, clients).sides[OURS].high
        benchmark.require(f"failed requests in {given.switches} switches, {clients} clients", failed, at_most=0)
    longest = benchmark.at(LONGEST, max(given.sizes)).sides[OURS].high
    benchmark.require(f"ms until the slowest answer, {max(given.sizes)} clients", longest)
    print(benchmark.write())


def publish(store: Path) -> list[ModelVersion]:
    """Pack the versions; all have the same weights, which takes nothing away from the work of a switch."""
    from kubeflow_provider.services import ModelVersion

    command = [str(_PIPELINES_PYTHON), "-m", "benchmarks.versions", str(store), MODEL, *_VERSIONS]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    digests: Mapping[str, str] = json.loads(done.stdout.splitlines()[-1])
    settings = ServingConfig().model_dump()
    return [
        ModelVersion(
            model=MODEL,
            version=version,
            archive_uri=(store / version).as_uri(),
            archive_sha256=sha256,
            settings=settings,
        )
        for version, sha256 in digests.items()
    ]


class Releases:
    """Versions that go live in turns.

    :param versions: three at least: the next one must be neither live nor the one to go back to.
    """

    def __init__(self, hook: TorchServeHook, versions: Sequence[ModelVersion]) -> None:
        self._hook = hook
        self._versions = cycle(versions)

    def switch(self) -> float:
        """Let the next version go live as a release does; return how many seconds it took.

        :raises RuntimeError: when the version does not answer, or users do not reach it.
        """
        began = time.monotonic()
        version, retired = next(self._versions), self._hook.get_previous(MODEL)
        self._hook.deploy_candidate(version)
        answer = self._hook.predict(MODEL, _body("a good place").encode(), version=version.version)
        live = self._hook.promote(MODEL, version.version)
        if answer.status_code != 200 or not live.is_live:
            raise RuntimeError(f"{MODEL} {version.version} answered {answer.status_code}; it is {live.state.value}.")
        if retired:
            self._hook.remove(MODEL, retired)
        return time.monotonic() - began

    def switches(self, number: int) -> Callable[[], list[float]]:
        """Return what lets so many versions go live, one right after the other, and says how long each took."""
        return lambda: [self.switch() for _ in range(number)]


def measure(hook: TorchServeHook, work: Callable[[], Sequence[float]], *, clients: int) -> dict[str, float]:
    """Let clients ask for as long as the work takes, and return what they saw."""
    bodies = [_body(text) for text in pick(read_reviews(), _TEXTS)]
    with asking(Target(url=hook.endpoint_url(MODEL)), bodies, clients=clients, pause_seconds=_PAUSE_SECONDS) as answers:
        seconds = work()
    for reason, count in answers.failures.items():
        print(f"{count} requests failed: {reason}")
    seen = figures(answers.found)
    return {
        FAILED: len(answers.failed),
        REQUESTS: seen["requests"],
        P50: seen["p50"],
        P95: seen["p95"],
        P99: seen["p99"],
        LONGEST: max(answer.seconds for answer in answers.found) * 1000,
        SWITCH: sum(seconds) / len(seconds) if seconds else 0.0,
    }


def _benchmark(given: argparse.Namespace) -> Benchmark:
    return Benchmark(
        name="switches",
        title="Switching versions",
        sides={
            OURS: f"{given.switches} versions that go live one right after the other",
            CALM: f"the same load for {given.calm_seconds:g} s on one version",
        },
        sizes=given.sizes,
        size_unit="clients",
        pairs=given.pairs,
        units={FAILED: "", REQUESTS: "a second", P50: "ms", P95: "ms", P99: "ms", LONGEST: "ms", SWITCH: "s"},
        notes=(
            "A DistilBERT of 2 layers, 128 wide, in TorchServe, through the hook that releases use: load beside the "
            "live version, ask once, promote, take out the version before the previous one.",
            f"Each client pauses for {_PAUSE_SECONDS * 1000:g} ms between two requests; all live in a process of "
            "their own. A request fails when its answer is no 200, or there is none.",
            "The next version's process starts on the same cores that answer: that is what latency shows.",
        ),
    )


def _wait(seconds: float) -> Callable[[], list[float]]:
    def wait() -> list[float]:
        time.sleep(seconds)
        return []

    return wait


def _body(text: str) -> str:
    return json.dumps({"instances": [text]})


if __name__ == "__main__":
    main()
