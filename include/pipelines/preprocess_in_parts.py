"""The pipeline of a preprocessing in parts: plan, read the files side by side, merge.

The components only call include.classifier.preprocess_steps, which the training image contains. The compiled IR lies
beside this file; ``make compile`` remakes it.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
import os

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG

#: Image with this repository and include/requirements.txt; read when the pipeline is compiled.
IMAGE = os.environ.get("TRAINING_IMAGE", "kubeflow-model-release:0.1.0")

_component = dsl.component(base_image=IMAGE, install_kfp_package=False)

#: Times that a part whose pod was lost, or whose store did not answer, is read again.
RETRIES = 3


@_component
def plan(request: dict, parts: int) -> list:
    """Find the files of the sources and divide them into parts."""
    from include.classifier.preprocess_steps import Request, plan_step

    return plan_step(Request(**request), parts=parts)


@_component
def read(request: dict, part: str) -> None:
    """Read, check and clean the rows of one part."""
    from include.classifier.preprocess_steps import Request, read_step

    read_step(Request(**request), part=int(part))


@_component
def merge(request: dict, model_name: str, seed: int, metrics: dsl.Output[dsl.Metrics]) -> None:
    """Drop what would spoil the measurement, split, and write dataset.json."""
    from include.classifier.preprocess_steps import Request, merge_step

    document = merge_step(Request(**request), model_name=model_name, seed=seed)
    for name in ("rows_in", "rows_kept"):
        metrics.log_metric(name, document[name])


# A pipeline of its own: kfp's compiler hands parameters of resources to no task that stands in a loop itself.
@dsl.pipeline(name="read-part")
def read_part(part: str, request: dict, cpu: str, memory: str) -> None:
    """Read one part."""
    done = read(request=request, part=part)
    done.set_display_name("Read")
    done.set_cpu_request(cpu).set_cpu_limit(cpu)
    done.set_memory_request(memory).set_memory_limit(memory)
    done.set_retry(num_retries=RETRIES)
    done.set_caching_options(enable_caching=False)


# Again one: what comes after it waits for all parts, also where a server cannot collect the outputs of a loop.
@dsl.pipeline(name="read-all")
def read_all(parts: list, request: dict, cpu: str, memory: str) -> None:
    """Read all parts."""
    with dsl.ParallelFor(parts, name="parts") as part:
        read_part(part=part, request=request, cpu=cpu, memory=memory).set_caching_options(enable_caching=False)


@dsl.pipeline(
    name="preprocess-in-parts",
    display_name="Preprocess in parts",
    description="Reads the files of a model's sources side by side and writes the data set that one process would.",
)
def preprocess_in_parts(
    request: dict,
    model_name: str,
    parts: int = 2,
    seed: int = 42,
    cpu: str = "2",
    memory: str = "4Gi",
) -> None:
    """Plan, read, merge.

    Args:
        request: data (the section of the model's YAML), output_uri, allowed_sources, as_of, timezone, queries_uri and
            requests_uri, as include.classifier.preprocess_steps.Request has them.
        model_name: Name of the model.
        parts: Steps that read side by side, at most.
        seed: Of the rows that are split off for evaluation where no evaluation data is given.
        cpu: CPUs of each step, requested and allowed.
        memory: Memory of each step, requested and allowed.
    """
    planned = plan(request=request, parts=parts)
    planned.set_display_name("Plan")
    done = read_all(parts=planned.output, request=request, cpu=cpu, memory=memory)
    done.set_display_name("Read all")
    done.set_caching_options(enable_caching=False)
    merged = merge(request=request, model_name=model_name, seed=seed).after(done)
    merged.set_display_name("Merge")
    for task in (planned, merged):
        task.set_cpu_request(cpu).set_cpu_limit(cpu)
        task.set_memory_request(memory).set_memory_limit(memory)
        # What lies behind a URI is nothing that Kubeflow's cache looks at.
        task.set_caching_options(enable_caching=False)
