"""The training pipeline: train, package, evaluate.

The components only call include.classifier.steps, which the training image contains. The compiled IR lies beside this
file; ``make compile`` remakes it.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
import os

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG
from kfp import kubernetes as cluster  # noqa: TID253

#: Image with this repository and include/requirements.txt; read when the pipeline is compiled.
IMAGE = os.environ.get("TRAINING_IMAGE", "kubeflow-model-release:0.1.0")

#: Times that a training whose pod was lost goes on from its last state.
RETRIES = 3

_component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@_component
def train(
    dataset_uri: str,
    model_name: str,
    model_version: str,
    output_uri: str,
    training: dict,
    tracking_uri: str,
    experiment_name: str,
    code_revision: str,
    model: dsl.Output[dsl.Model],
    training_facts: dsl.Output[dsl.Artifact],
) -> None:
    """Fine-tune the base model on the training rows."""
    from include.classifier.steps import train_step

    train_step(
        dataset_uri=dataset_uri,
        model_dir=model.path,
        training_file=training_facts.path,
        model_name=model_name,
        model_version=model_version,
        settings=training,
        output_uri=output_uri,
        tracking_uri=tracking_uri,
        experiment_name=experiment_name,
        code_revision=code_revision,
    )
    model.metadata["framework"] = "transformers"


def prepare_training(task: dsl.PipelineTask) -> None:
    """Let a training go on after its pod was lost, and its processes have memory in common."""
    task.set_retry(num_retries=RETRIES)
    # NCCL hands gradients from GPU to GPU in it, and a container's own has 64 MB. What is used counts as its memory.
    cluster.empty_dir_mount(task, volume_name="shared-memory", mount_path="/dev/shm", medium="Memory")  # noqa: S108


@_component
def package(
    dataset_uri: str,
    model_name: str,
    model_version: str,
    output_uri: str,
    serving: dict,
    model: dsl.Input[dsl.Model],
    package_facts: dsl.Output[dsl.Artifact],
) -> None:
    """Pack the model for TorchServe, and check that a real TorchServe gives the model's own answers."""
    from include.classifier.steps import package_step

    package_step(
        dataset_uri=dataset_uri,
        model_dir=model.path,
        package_file=package_facts.path,
        model_name=model_name,
        model_version=model_version,
        output_uri=output_uri,
        serving=serving,
    )


@_component
def evaluate(
    dataset_uri: str,
    model_name: str,
    model_version: str,
    output_uri: str,
    live_uri: str,
    confidence: float,
    tracking_uri: str,
    code_revision: str,
    shadow: dict,
    training_facts: dsl.Input[dsl.Artifact],
    package_facts: dsl.Input[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion_matrix: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Score the packed model, the live one and a simple baseline on the evaluation rows, and write candidate.json."""
    from include.classifier.steps import evaluate_step

    headline = evaluate_step(
        dataset_uri=dataset_uri,
        package_file=package_facts.path,
        training_file=training_facts.path,
        model_name=model_name,
        model_version=model_version,
        output_uri=output_uri,
        live_uri=live_uri,
        confidence=confidence,
        tracking_uri=tracking_uri,
        code_revision=code_revision,
        shadow=shadow,
    )
    for name, value in headline.metrics.items():
        metrics.log_metric(name, value)
    confusion_matrix.log_confusion_matrix(headline.labels, headline.confusion)


@dsl.pipeline(
    name="train-classifier",
    display_name="Train a text classifier",
    description="Trains a text classifier, packs it for TorchServe and measures the package against the live model.",
)
def train_classifier(
    dataset_uri: str,
    output_uri: str,
    model_name: str,
    model_version: str,
    training: dict = {},  # noqa: B006  compiled into the IR, never called
    live_uri: str = "",
    confidence: float = 0.95,
    serving: dict = {},  # noqa: B006  compiled into the IR, never called
    tracking_uri: str = "",
    experiment_name: str = "",
    code_revision: str = "",
    shadow: dict = {},  # noqa: B006  compiled into the IR, never called
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator_type: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> None:
    """Train, package, evaluate.

    Args:
        dataset_uri: URI of dataset.json, which preprocessing wrote.
        output_uri: Folder of this release; gets package/ and, last of all, candidate.json.
        model_name: Name under which the model is served.
        model_version: Version of the release, 14 digits.
        training: The section `training` of a model's YAML: base_model, epochs, learning_rate, seed and more.
        live_uri: Package of the live model to compare with; empty before the first release.
        confidence: Of the intervals around the differences to the live model, between 0 and 1.
        serving: Settings of the model server: workers, batch_size, max_batch_delay_ms, response_timeout_seconds.
        tracking_uri: MLflow's address; empty for no tracking.
        experiment_name: MLflow experiment; empty for the model's name.
        code_revision: Commit of the code; empty for the one that the image was built from.
        shadow: Captured requests that the package answers: requests, days, store_uri, live_version; empty for none.
        cpu: CPUs of each step, requested and allowed.
        memory: Memory of each step, requested and allowed.
        accelerator_type: Resource name of the accelerator for training.
        accelerator_count: How many of it, as text: Kubeflow reads a number as none.
    """
    trained = train(
        dataset_uri=dataset_uri,
        model_name=model_name,
        model_version=model_version,
        output_uri=output_uri,
        training=training,
        tracking_uri=tracking_uri,
        experiment_name=experiment_name,
        code_revision=code_revision,
    )
    trained.set_display_name("Train")
    trained.set_accelerator_type(accelerator_type).set_accelerator_limit(accelerator_count)
    prepare_training(trained)

    packaged = package(
        dataset_uri=dataset_uri,
        model_name=model_name,
        model_version=model_version,
        output_uri=output_uri,
        serving=serving,
        model=trained.outputs["model"],
    )
    packaged.set_display_name("Package")

    evaluated = evaluate(
        dataset_uri=dataset_uri,
        model_name=model_name,
        model_version=model_version,
        output_uri=output_uri,
        live_uri=live_uri,
        confidence=confidence,
        tracking_uri=tracking_uri,
        code_revision=code_revision,
        shadow=shadow,
        training_facts=trained.outputs["training_facts"],
        package_facts=packaged.outputs["package_facts"],
    )
    evaluated.set_display_name("Evaluate")

    for task in (trained, packaged, evaluated):
        task.set_cpu_request(cpu).set_cpu_limit(cpu)
        task.set_memory_request(memory).set_memory_limit(memory)
        # Kubeflow's cache looks at parameters, not at what lies behind a URI: after a clean-up of the store it would
        # skip the step that writes there.
        task.set_caching_options(enable_caching=False)
