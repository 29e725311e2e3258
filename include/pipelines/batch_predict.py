"""The pipeline of the batch prediction: plan, score the shards side by side, finish.

The components only call include.classifier.batch.steps, which the training image contains. The compiled IR lies beside
this file; ``make compile`` remakes it.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
import os

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG

#: Image with this repository and include/requirements.txt; read when the pipeline is compiled.
IMAGE = os.environ.get("TRAINING_IMAGE", "kubeflow-model-release:0.1.0")

_component = dsl.component(base_image=IMAGE, install_kfp_package=False)

#: Times that a worker whose pod was lost begins again, with the shards that are not done.
_RETRIES = 3


@_component
def plan(
    data_uri: str,
    output_uri: str,
    model_name: str,
    model_version: str,
    archive_sha256: str,
    reading: dict,
    allowed_sources: list,
    allowed_outputs: list,
    shard_rows: int,
    workers: int,
) -> list:
    """Pin the files of the input, count their rows and divide them into shards."""
    from include.classifier.batch.steps import plan_step

    return plan_step(
        data_uri=data_uri,
        output_uri=output_uri,
        model_name=model_name,
        model_version=model_version,
        archive_sha256=archive_sha256,
        reading=reading,
        allowed_sources=allowed_sources,
        allowed_outputs=allowed_outputs,
        shard_rows=shard_rows,
        workers=workers,
    )


@_component
def score(
    worker: str,
    workers: int,
    output_uri: str,
    archive_uri: str,
    archive_sha256: str,
    reading: dict,
    allowed_sources: list,
) -> None:
    """Score the shards of one worker that are not done yet."""
    from include.classifier.batch.steps import score_step

    score_step(
        worker=int(worker),
        workers=workers,
        output_uri=output_uri,
        archive_uri=archive_uri,
        archive_sha256=archive_sha256,
        reading=reading,
        allowed_sources=allowed_sources,
    )


@_component
def finish(output_uri: str, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Check that every row was scored once, and write predictions.json."""
    from include.classifier.batch.steps import finish_step

    found = finish_step(output_uri=output_uri)
    for name in ("rows", "predicted", "rejected", "truncated", "seconds"):
        metrics.log_metric(name, getattr(found, name))


# A pipeline of its own: kfp's compiler hands parameters of resources to no task that stands in a loop itself.
@dsl.pipeline(name="score-worker")
def score_worker(
    worker: str,
    workers: int,
    output_uri: str,
    archive_uri: str,
    archive_sha256: str,
    reading: dict,
    allowed_sources: list,
    cpu: str,
    memory: str,
    accelerator_type: str,
    accelerator_count: str,
) -> None:
    """Score the shards of one worker."""
    scored = score(
        worker=worker,
        workers=workers,
        output_uri=output_uri,
        archive_uri=archive_uri,
        archive_sha256=archive_sha256,
        reading=reading,
        allowed_sources=allowed_sources,
    )
    scored.set_display_name("Score")
    scored.set_accelerator_type(accelerator_type).set_accelerator_limit(accelerator_count)
    scored.set_cpu_request(cpu).set_cpu_limit(cpu)
    scored.set_memory_request(memory).set_memory_limit(memory)
    scored.set_retry(num_retries=_RETRIES)
    scored.set_caching_options(enable_caching=False)


# Again one: what comes after it waits for all workers, also where a server cannot collect the outputs of a loop.
@dsl.pipeline(name="score-all")
def score_all(
    numbers: list,
    workers: int,
    output_uri: str,
    archive_uri: str,
    archive_sha256: str,
    reading: dict,
    allowed_sources: list,
    cpu: str,
    memory: str,
    accelerator_type: str,
    accelerator_count: str,
) -> None:
    """Score all shards."""
    with dsl.ParallelFor(numbers, name="workers") as number:
        score_worker(
            worker=number,
            workers=workers,
            output_uri=output_uri,
            archive_uri=archive_uri,
            archive_sha256=archive_sha256,
            reading=reading,
            allowed_sources=allowed_sources,
            cpu=cpu,
            memory=memory,
            accelerator_type=accelerator_type,
            accelerator_count=accelerator_count,
        ).set_caching_options(enable_caching=False)


@dsl.pipeline(
    name="batch-predict",
    display_name="Predict a table",
    description="Scores every row of a table or a folder once with one version of a text classifier.",
)
def batch_predict(
    data_uri: str,
    output_uri: str,
    model_name: str,
    model_version: str,
    archive_uri: str,
    archive_sha256: str,
    reading: dict,
    allowed_sources: list = ["*"],  # noqa: B006  compiled into the IR, never called
    allowed_outputs: list = ["*"],  # noqa: B006  compiled into the IR, never called
    shard_rows: int = 20_000,
    workers: int = 1,
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator_type: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> None:
    """Plan, score, finish.

    Args:
        data_uri: File or folder of CSV, TSV, JSON Lines or Parquet.
        output_uri: Folder for the predictions; one that holds a part of them is gone on with.
        model_name: Name of the model.
        model_version: Version that scores, 14 digits.
        archive_uri: Its .mar file.
        archive_sha256: SHA-256 that the archive must have.
        reading: The section `data` of the model's YAML, with the columns that hold the text here.
        allowed_sources: What the input may be, where a form has named it.
        allowed_outputs: Where may be written, where a form has named it.
        shard_rows: Rows of one output file, at most.
        workers: Steps that score side by side.
        cpu: CPUs of each step, requested and allowed.
        memory: Memory of each step, requested and allowed.
        accelerator_type: Resource name of the accelerator for scoring.
        accelerator_count: How many of it for each worker, as text: Kubeflow reads a number as none.
    """
    planned = plan(
        data_uri=data_uri,
        output_uri=output_uri,
        model_name=model_name,
        model_version=model_version,
        archive_sha256=archive_sha256,
        reading=reading,
        allowed_sources=allowed_sources,
        allowed_outputs=allowed_outputs,
        shard_rows=shard_rows,
        workers=workers,
    )
    planned.set_display_name("Plan")
    scored = score_all(
        numbers=planned.output,
        workers=workers,
        output_uri=output_uri,
        archive_uri=archive_uri,
        archive_sha256=archive_sha256,
        reading=reading,
        allowed_sources=allowed_sources,
        cpu=cpu,
        memory=memory,
        accelerator_type=accelerator_type,
        accelerator_count=accelerator_count,
    )
    scored.set_display_name("Score all")
    scored.set_caching_options(enable_caching=False)
    finished = finish(output_uri=output_uri).after(scored)
    finished.set_display_name("Finish")
    for task in (planned, finished):
        task.set_cpu_request(cpu).set_cpu_limit(cpu)
        task.set_memory_request(memory).set_memory_limit(memory)
        # What lies behind a URI is nothing that Kubeflow's cache looks at.
        task.set_caching_options(enable_caching=False)
