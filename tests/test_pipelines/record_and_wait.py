"""A pipeline for tests: one step leaves a line in a file and sleeps, one step fails when it is asked to.

Compile it with the pipeline half's Python: ``python tests/test_pipelines/record_and_wait.py``.
"""
# ruff: noqa: TID253, PTH123, T201 - what stands in a component is self-contained source

from pathlib import Path

from kfp import compiler, dsl

IMAGE = "python:3.11"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record(file: str, seconds: float, repeat: int, mark: dict) -> None:
    import os
    import time

    progress = os.environ.get("PROGRESS_FILE")
    if progress:
        with open(progress, "w") as stream:
            stream.write(f"sleeping {seconds} seconds\n")
    with open(file, "a") as stream:
        stream.write(f"pid {os.getpid()} {mark}\n" * repeat)
    print("\033[96mrecorded\033[0m", flush=True)
    time.sleep(seconds)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(fail: bool, killed: bool) -> None:
    import os
    import signal

    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    if fail:
        raise ValueError("column 'stars' is missing")


@dsl.pipeline(name="record-and-wait", display_name="Record and wait")
def record_and_wait(
    file: str,
    seconds: float = 0.0,
    repeat: int = 1,
    fail: bool = False,
    killed: bool = False,
    mark: dict = {},  # noqa: B006
) -> None:
    recorded = record(file=file, seconds=seconds, repeat=repeat, mark=mark).set_caching_options(False)
    finish(fail=fail, killed=killed).after(recorded).set_caching_options(False)


if __name__ == "__main__":
    compiler.Compiler().compile(record_and_wait, str(Path(__file__).with_suffix(".yaml")))
