"""How the tests are chosen, ordered, spread over workers and limited in time; ``tests/conftest.py`` gives it to pytest.

What a test may start stands in its markers, how long its file took stands in ``tests/seconds.json``
(``RECORD_SECONDS=1 make test-all`` writes it).
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = ROOT / "tests" / "seconds.json"

#: Markers of tests that start something, wait for it or compute for seconds; ``pyproject.toml`` says which is what.
STARTS = ("processes", "waits", "computes", "torchserve", "pipelines", "airflow", "postgresql")
#: Only ``test-all`` has them: the long way round, and what an engine, a server or data of somebody else is needed for.
LONG = ("long", "docker", "yelp")
#: Only ``test-all`` has them: tests of what the tests themselves stand on, and of the benchmarks.
LONG_FOLDERS = ("doubles", "benchmarks")
#: What begins with one of these names is run by one worker, one file after the other, because it shares something dear:
#: a running Airflow; what takes a process twenty seconds to make ready, MLflow and the API that tasks in it ask; the
#: clients of Kubernetes, which take three.
SHARING = (
    ("tests/end_to_end/running_airflow/",),
    (
        "tests/model_releases/",
        "tests/contract/test_registry_service.py",
        "tests/dags/test_watch_releases.py",
        "tests/end_to_end/test_every_write_fails.py",
        "tests/kubeflow_provider/example_dags/",
        "tests/release_in_kubeflow/test_steps.py",
    ),
    (
        "tests/kubeflow_provider/hooks/kserve/",
        "tests/contract/test_serving_service.py",
        "tests/kubeflow_provider/kubernetes/",
        "tests/kubeflow_provider/operators/on_kserve/",
    ),
)
#: No tier has them: `make test-gpu` runs them. Without a GPU they fail, so that nobody takes them for tried.
ELSEWHERE = "gpu"

#: For a file of which nothing is recorded.
_UNKNOWN_SECONDS = 30.0

#: Programs that libraries ask when they are imported.
_ASK_ABOUT_THE_MACHINE = ("uname", "lscpu", "file", "/sbin/ldconfig")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this module."""
    group = parser.getgroup("suite", "which tests are run, and in which order")
    group.addoption("--tier", choices=("fast", "test", "long", "all"), help="leave out what the tier does not have")
    group.addoption("--shuffle", metavar="SEED", help="run files, and the tests of each, in a random order")


def pytest_configure(config: pytest.Config) -> None:
    """Hold the fast tier to what it says of itself."""
    if config.getoption("--tier") == "fast":
        sys.addaudithook(_refuse_processes)


#: Whether a test is running, and not pytest itself, its plugins or their workers.
_is_testing = False


def _refuse_processes(event: str, arguments: tuple[Any, ...]) -> None:
    if _is_testing and event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty"):
        if arguments and arguments[0] in _ASK_ABOUT_THE_MACHINE:
            return
        raise AssertionError(f"the fast tests start nothing: mark this one as `processes` ({event} {arguments!r:.200})")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over folders of which the tier has nothing: each worker would import what lies there."""
    is_short = config.getoption("--tier") in ("fast", "test")
    return True if is_short and _folder(collection_path) in LONG_FOLDERS else None


def _folder(path: Path) -> str:
    """Return the folder of the tests in which a file lies, or the path itself."""
    return path.relative_to(ROOT / "tests").parts[0] if ROOT / "tests" in path.parents else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the tier does not have, and put the longest first: at the end nobody waits for one of them.

    First of all, so that pytest can still bring together what shares a fixture with parameters, as an Airflow on one
    database does.
    """
    tier = config.getoption("--tier")
    left_out = [item for item in items if not _belongs(item, tier)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _belongs(item, tier)]
    seed = config.getoption("--shuffle")
    if seed is not None:
        chance = random.Random(seed)
        places = {file: chance.random() for file in sorted({_file(item.nodeid) for item in items})}
        chance.shuffle(items)
        items.sort(key=lambda item: places[_file(item.nodeid)])
    else:
        took = Counter[str]()
        for file in {_file(item.nodeid) for item in items}:
            took[_scope(file)] += _recorded(file)
        items.sort(key=lambda item: (-took[_scope(item.nodeid)], _scope(item.nodeid), -_recorded(_file(item.nodeid))))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is there by now: modules and tests, which stay until the end."""
    gc.collect()
    gc.freeze()


def _belongs(item: pytest.Item, tier: Literal["fast", "test", "long", "all"] | None) -> bool:
    markers = {marker.name for marker in item.iter_markers()}
    if tier in (None, "all") or ELSEWHERE in markers:
        return tier is None or ELSEWHERE not in markers
    is_long = bool(markers & {*LONG}) or _folder(item.path) in LONG_FOLDERS
    if tier == "long" or is_long:
        return is_long and tier == "long"
    return tier == "test" or not markers & {*STARTS}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker one file after the other, in the order above; pytest-xdist would take the most tests first."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid)

    config.option.loadscopereorder = False
    return ByFile(config, log)


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0]


def _scope(nodeid: str) -> str:
    """Return what one worker runs in one go: a file, or the first name of those that share something."""
    file = _file(nodeid)
    return next((names[0] for names in SHARING if file.startswith(names)), file)


@cache
def _seconds() -> dict[str, float]:
    return dict(json.loads(SECONDS.read_text(encoding="utf-8"))) if SECONDS.exists() else {}


def _recorded(file: str) -> float:
    return _seconds().get(file, _UNKNOWN_SECONDS)


def file_limit_seconds(file: str, tier: str | None) -> float:
    """Return how long all tests of a file may take together: many times what they took, and never less than minutes.

    A machine that is busy with something else is slow; one that hangs is given up before CI gives up the whole run.
    What is recorded are the seconds of the tier ``test``, in which the long tests of a file took none.
    """
    return (240 if tier in ("fast", "test") else 1200) + 8 * _recorded(file)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test after the moment that ``TEST_UNTIL`` names, in seconds since 1970: CI ends a run that is late.

    The longest files came first; what is left out is counted among the reasons for which tests were skipped.
    """
    until = os.environ.get("TEST_UNTIL")
    if until and time.time() > float(until):
        pytest.skip("no time was left (TEST_UNTIL)")


#: Seconds that the tests of each file have taken so far. Those of another file may lie between them.
_taken: defaultdict[str, float] = defaultdict(float)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give a test no more time than is left of its file's."""
    file = _file(item.nodeid)
    left = file_limit_seconds(file, item.config.getoption("--tier")) - _taken[file]
    own = item.get_closest_marker("timeout")
    if own is None or own.args[0] > left:
        item.add_marker(pytest.mark.timeout(max(left, 1.0)), append=False)
    global _is_testing
    _is_testing = True
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        _is_testing = False
        _taken[file] += time.monotonic() - begun


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often a test repeats what is independent each time: twenty times where there is time for it."""
    return 20 if pytestconfig.getoption("--tier") in ("long", "all") else 5
