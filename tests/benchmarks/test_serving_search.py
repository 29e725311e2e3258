"""Which settings are tried, in which order, and which one is recommended."""

from __future__ import annotations

from benchmarks.harness import OURS
from benchmarks.served_texts import P50, REQUESTS
from benchmarks.serving_search import Setting, recommend, settings, turns
from include.contracts.settings import ServingConfig
from tests.benchmarks.measured import measured


def test_every_combination_is_tried_once_that_keeps_the_cpus_busy() -> None:
    found = list(settings([1, 2], [1, 2], [1, 4], [0, 20], cpus=2))

    assert [str(each) for each in found] == [
        *("1 x 2, 1 in 0 ms", "1 x 2, 4 in 0 ms", "1 x 2, 4 in 20 ms"),
        *("2 x 1, 1 in 0 ms", "2 x 1, 4 in 0 ms", "2 x 1, 4 in 20 ms"),
        *("2 x 2, 1 in 0 ms", "2 x 2, 4 in 0 ms", "2 x 2, 4 in 20 ms"),
    ]


def test_the_defaults_are_not_tried_twice() -> None:
    default = Setting.default()
    found = list(settings([default.workers], [default.threads], [default.batch_size], [default.delay_ms], cpus=1))

    assert found == []
    assert ServingConfig.model_validate(default.config()) == ServingConfig()


def test_the_defaults_run_in_the_middle_and_the_order_turns() -> None:
    tried = list(settings([1], [1], [4], [0, 1, 2, 3], cpus=1))
    order = [side for side, _ in turns(tried, 2)]

    assert order[2] == order[-3] == OURS
    assert order[:5] == order[:4:-1]
    assert dict(turns(tried, 1))[OURS] == Setting.default()


def test_what_answers_most_without_delaying_a_single_client_is_best() -> None:
    # Requests a second with 32 clients, and the median latency with one.
    figures = {OURS: (40, 20), "quick": (50, 19), "slow with one": (90, 25), "weak": (10, 19)}
    benchmark = measured(
        {
            (clients, side): {REQUESTS: requests, P50: latency}
            for side, (requests, latency) in figures.items()
            for clients in (1, 32)
        }
    )
    recommend(benchmark)

    assert [(target.what, target.value, target.reached) for target in benchmark.targets] == [
        ("times the defaults' requests, 32 clients: quick", 1.25, False),
        ("times the lowest median latency: the defaults, 1 client", 1.0526, True),
    ]
