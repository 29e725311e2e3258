"""Which tests a tier has, in which order they come, and how long a file may take."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests import suite

LONGEST, SHORT, UNKNOWN = "tests/dags/test_a.py", "tests/dags/test_b.py", "tests/dags/test_c.py"
SHARING = [f"{suite.SHARING[0][0]}test_{name}.py" for name in ("x", "y")]


class Item:
    """As much of a test as the choice needs."""

    def __init__(self, file: str, name: str = "test", *markers: str) -> None:
        self.nodeid, self.path = f"{file}::{name}", suite.ROOT / file
        self._markers = markers

    def iter_markers(self) -> Iterator[Any]:
        return iter([SimpleNamespace(name=name) for name in self._markers])


def choose(*items: Item, tier: str | None = None, shuffle: str | None = None) -> list[str]:
    chosen = list(items)
    options = {"--tier": tier, "--shuffle": shuffle}
    hook = SimpleNamespace(pytest_deselected=lambda items: None)
    suite.pytest_collection_modifyitems(SimpleNamespace(getoption=options.get, hook=hook), chosen)  # type: ignore[arg-type]
    return [item.nodeid for item in chosen]


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {LONGEST: 50.0, SHORT: 1.0, SHARING[0]: 20.0, SHARING[1]: 40.0}
    monkeypatch.setattr(suite, "_seconds", lambda: seconds)


@pytest.mark.parametrize(
    ("tier", "names"),
    [
        ("fast", {"plain"}),
        ("test", {"plain", "airflow", "processes"}),
        ("long", {"long", "docker", "double"}),
        ("all", {"plain", "airflow", "processes", "long", "docker", "double"}),
        (None, {"plain", "airflow", "processes", "long", "docker", "double", "gpu"}),
    ],
)
def test_a_tier_leaves_out_what_it_says(tier: str | None, names: set[str]) -> None:
    markers = ("airflow", "processes", "long", "docker", "gpu")
    items = [Item(SHORT, "plain"), *(Item(SHORT, name, name) for name in markers)]
    items.append(Item("tests/doubles/kfp_server_tests/test_d.py", "double"))

    assert {nodeid.split("::")[1] for nodeid in choose(*items, tier=tier)} == names


def test_no_test_begins_when_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    item: Any = Item(SHORT, "plain")
    suite.pytest_runtest_setup(item)
    monkeypatch.setenv("TEST_UNTIL", str(time.time() + 600))
    suite.pytest_runtest_setup(item)
    monkeypatch.setenv("TEST_UNTIL", "1")
    with pytest.raises(pytest.skip.Exception, match="no time was left"):
        suite.pytest_runtest_setup(item)


def test_the_longest_comes_first_and_files_that_share_something_count_together() -> None:
    chosen = choose(*(Item(file) for file in (SHORT, UNKNOWN, SHARING[0], LONGEST, SHARING[1])))

    assert [nodeid.split("::")[0] for nodeid in chosen] == [SHARING[1], SHARING[0], LONGEST, UNKNOWN, SHORT]
    assert suite._scope(SHARING[0]) == suite._scope(SHARING[1]) != suite._scope(SHORT)


def test_a_shuffled_order_is_another_one_for_each_seed_and_keeps_files_together() -> None:
    items = [Item(file, f"test_{number}") for file in (LONGEST, SHORT, UNKNOWN) for number in range(5)]
    orders = {seed: choose(*items, shuffle=seed) for seed in ("1", "2")}

    assert orders["1"] == choose(*items, shuffle="1") != orders["2"]
    for order in orders.values():
        files = [nodeid.split("::")[0] for nodeid in order]
        assert sum(one != other for one, other in itertools.pairwise(files)) == 2


def test_a_file_may_take_many_times_what_it_took() -> None:
    assert suite.file_limit_seconds(LONGEST, "test") == 640
    assert suite.file_limit_seconds(SHORT, "fast") == 248
    # Its long tests, of which nothing is recorded, run there, too.
    assert suite.file_limit_seconds(SHORT, "all") == suite.file_limit_seconds(SHORT, None) == 1208


def test_the_time_of_other_files_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(suite, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(suite, "_taken", defaultdict(float))
    monkeypatch.setattr(suite, "_is_testing", True)

    def run(file: str, seconds: float) -> float:
        """Let a test take so long, and return the limit that it was given."""
        limits: list[float] = []
        item: Any = SimpleNamespace(
            nodeid=f"{file}::test",
            config=SimpleNamespace(getoption=lambda name: "test"),
            get_closest_marker=lambda name: None,
            add_marker=lambda marker, append: limits.append(marker.args[0]),
        )
        protocol: Any = suite.pytest_runtest_protocol(item)
        next(protocol)
        clock.now += seconds
        with pytest.raises(StopIteration):
            protocol.send(None)
        return limits[0]

    assert run(SHORT, 100) == 248
    assert run(LONGEST, 1000) == 640
    assert run(SHORT, 100) == 148
    assert run(SHORT, 100) == 48
    assert run(SHORT, 1) == 1


def test_what_is_recorded_is_there() -> None:
    assert [file for file in json.loads(suite.SECONDS.read_text()) if not (suite.ROOT / file).exists()] == []
