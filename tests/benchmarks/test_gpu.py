"""What is measured on a GPU: when a processor may take its place, and what a release is held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_release import NATIVE, STEPS, TORCHSERVE, WHOLE, Release, judge, write_rows
from benchmarks.training import ON_A_GPU, read_rows
from tests.benchmarks.measured import measured


def test_a_processor_takes_the_place_of_a_gpu_only_where_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpu.TRIAL_VARIABLE, raising=False)
    assert not gpu.is_trial()
    monkeypatch.setenv(gpu.TRIAL_VARIABLE, "cpu")
    assert gpu.is_trial()
    monkeypatch.setenv(gpu.TRIAL_VARIABLE, "1")
    with pytest.raises(ValueError, match="GPU_TRIAL is '1': it may be cpu"):
        gpu.is_trial()


def test_what_was_only_tried_leaves_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.TRIAL_VARIABLE, "cpu")
    benchmark = measured({(10, "ours"): {"a": 1.0}})
    before = sorted(gpu.RESULTS.iterdir())

    assert gpu.write(benchmark).startswith("nothing is written")
    assert sorted(gpu.RESULTS.iterdir()) == before


@pytest.mark.parametrize(("seconds", "reached"), [(479.0, [True, True]), (481.0, [True, False])])
def test_a_release_with_either_server_has_eight_minutes(seconds: float, reached: list[bool]) -> None:
    benchmark = measured({(10, NATIVE): {WHOLE: 300.0}, (10, TORCHSERVE): {WHOLE: seconds}}, ours=NATIVE)
    judge(benchmark)

    assert [target.reached for target in benchmark.targets] == reached


def test_a_release_takes_as_long_as_its_steps(tmp_path: Path) -> None:
    made = Release(folder=tmp_path, runtime=NATIVE, seconds=dict.fromkeys(STEPS, 2.0))

    assert made.figures() == {**dict.fromkeys(STEPS, 2.0), WHOLE: 10.0}


def test_reviews_are_made_in_any_number(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / f"{seed}.csv", 300, seed=seed).read_text(encoding="utf-8") for seed in (0, 1, 0)]
    assert files[0] == files[2] != files[1]
    assert len(set(files[0].splitlines())) == 301

    rows = read_rows(at_least=max(ON_A_GPU.sizes))
    assert len(rows.texts) == 4000
    assert {rows.classes.count(index) for index in range(5)} == {800}
