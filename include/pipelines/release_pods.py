"""What the pods of a release in Kubeflow have in common, and its files read side by side.

The pipelines here are parts of :mod:`include.pipelines.release_in_kubeflow`. Each stands by itself because kfp's
compiler hands parameters of resources, images, volumes and secrets to no task that stands in a loop or a condition.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
import os

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG
from kfp import kubernetes as cluster  # noqa: TID253

from include.pipelines.preprocess_in_parts import RETRIES, merge, read
from include.release_in_kubeflow.inference_service import VOLUME_PATH

#: ``RELEASE_STORAGE=object-store``, read when the pipeline is compiled, leaves the volume out: a pod that names a claim
#: which does not exist never starts, so the choice cannot be a parameter.
ON_VOLUME = os.environ.get("RELEASE_STORAGE", "volume") != "object-store"

#: Keys of the secret that the parameter ``credentials`` names; each is optional, and becomes a variable of its name.
CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MODEL_REGISTRY_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "HF_TOKEN",
)


def prepare_pod(task: dsl.PipelineTask, *, image: str, cpu: str, memory: str, volume: str, credentials: str) -> None:
    """Give a step its image, its resources, the volume with the store and the credentials."""
    task.set_container_image(image)
    task.set_cpu_request(cpu).set_cpu_limit(cpu)
    task.set_memory_request(memory).set_memory_limit(memory)
    # Kubeflow's cache looks at parameters, not at what lies behind a URI.
    task.set_caching_options(enable_caching=False)
    cluster.use_secret_as_env(task, credentials, {key: key for key in CREDENTIALS}, optional=True)
    if ON_VOLUME:
        cluster.mount_pvc(task, pvc_name=volume, mount_path=VOLUME_PATH)


@dsl.pipeline(name="read-part-of-a-release")
def read_part(part: str, request: dict, image: str, cpu: str, memory: str, volume: str, credentials: str) -> None:
    """Read one part."""
    done = read(request=request, part=part)
    done.set_display_name("Read")
    done.set_retry(num_retries=RETRIES)
    prepare_pod(done, image=image, cpu=cpu, memory=memory, volume=volume, credentials=credentials)


@dsl.pipeline(name="read-parts-of-a-release")
def read_parts(parts: list, request: dict, image: str, cpu: str, memory: str, volume: str, credentials: str) -> None:
    """Read all parts."""
    with dsl.ParallelFor(parts, name="parts") as part:
        read_part(
            part=part,
            request=request,
            image=image,
            cpu=cpu,
            memory=memory,
            volume=volume,
            credentials=credentials,
        ).set_caching_options(enable_caching=False)


@dsl.pipeline(name="read-and-merge-a-release")
def read_and_merge(
    parts: list,
    request: dict,
    model_name: str,
    seed: int,
    image: str,
    cpu: str,
    memory: str,
    volume: str,
    credentials: str,
) -> None:
    """Read all parts, and put them together."""
    done = read_parts(
        parts=parts,
        request=request,
        image=image,
        cpu=cpu,
        memory=memory,
        volume=volume,
        credentials=credentials,
    )
    done.set_display_name("Read all")
    done.set_caching_options(enable_caching=False)
    merged = merge(request=request, model_name=model_name, seed=seed).after(done)
    merged.set_display_name("Merge")
    prepare_pod(merged, image=image, cpu=cpu, memory=memory, volume=volume, credentials=credentials)


# What comes after a condition cannot wait for it, but for the pipeline that it stands in.
@dsl.pipeline(name="read-side-by-side")
def read_side_by_side(
    how: str,
    parts: list,
    request: dict,
    model_name: str,
    seed: int,
    image: str,
    cpu: str,
    memory: str,
    volume: str,
    credentials: str,
) -> None:
    """Read and merge where the data are not read yet: one step that has read them all leaves nothing to do."""
    with dsl.If(how == "parts", name="in-parts"):
        read_and_merge(
            parts=parts,
            request=request,
            model_name=model_name,
            seed=seed,
            image=image,
            cpu=cpu,
            memory=memory,
            volume=volume,
            credentials=credentials,
        ).set_caching_options(enable_caching=False)
