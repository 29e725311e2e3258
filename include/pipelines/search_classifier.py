"""The pipeline of a search for better settings: one step, which trains its trials in processes of its own.

The component only calls include.classifier.search.steps, which the training image contains. The compiled IR lies beside
this file; ``make compile`` remakes it.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
import os

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG

#: Image with this repository and include/requirements.txt; read when the pipeline is compiled.
IMAGE = os.environ.get("TRAINING_IMAGE", "kubeflow-model-release:0.1.0")

_component = dsl.component(base_image=IMAGE, install_kfp_package=False)

#: Times that a search whose pod was lost goes on, with the trials that are not over.
_RETRIES = 3


@_component
def search(
    dataset_uri: str,
    output_uri: str,
    model_name: str,
    search_id: str,
    training: dict,
    settings: dict,
    confidence: float,
    tracking_uri: str,
    experiment_name: str,
    code_revision: str,
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train with other settings, again and again, and write search.json."""
    from include.classifier.search.steps import search_step

    found = search_step(
        dataset_uri=dataset_uri,
        output_uri=output_uri,
        model_name=model_name,
        search_id=search_id,
        training=training,
        settings=settings,
        confidence=confidence,
        tracking_uri=tracking_uri,
        experiment_name=experiment_name,
        code_revision=code_revision,
    )
    metrics.log_metric("trials", len(found.trials))
    metrics.log_metric("best_trial", found.best)
    metrics.log_metric(found.objective, found.trial(found.best).value)
    for name, value in found.best_settings.items():
        metrics.log_metric(name, value)


@dsl.pipeline(
    name="search-classifier",
    display_name="Search settings of a text classifier",
    description="Trains a text classifier with other settings, again and again, and says which are the best.",
)
def search_classifier(
    dataset_uri: str,
    output_uri: str,
    model_name: str,
    search_id: str,
    training: dict = {},  # noqa: B006  compiled into the IR, never called
    settings: dict = {},  # noqa: B006  compiled into the IR, never called
    confidence: float = 0.95,
    tracking_uri: str = "",
    experiment_name: str = "",
    code_revision: str = "",
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator_type: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> None:
    """Search.

    Args:
        dataset_uri: URI of dataset.json, which preprocessing wrote.
        output_uri: Folder of this search; one that holds a part of its trials is gone on with.
        model_name: Name of the model.
        search_id: Id of the search, 14 digits.
        training: The section `training` of a model's YAML: the present settings.
        settings: The section `search` of a model's YAML: space, trials, minutes, objective and more.
        confidence: Of the intervals of all differences together, between 0 and 1.
        tracking_uri: MLflow's address; empty for no tracking.
        experiment_name: MLflow experiment; empty for the model's name and `search`.
        code_revision: Commit of the code; empty for the one that the image was built from.
        cpu: CPUs of the step, for all trials that are trained side by side.
        memory: Memory of the step, likewise.
        accelerator_type: Resource name of the accelerator for training.
        accelerator_count: How many of it, as text: Kubeflow reads a number as none.
    """
    searched = search(
        dataset_uri=dataset_uri,
        output_uri=output_uri,
        model_name=model_name,
        search_id=search_id,
        training=training,
        settings=settings,
        confidence=confidence,
        tracking_uri=tracking_uri,
        experiment_name=experiment_name,
        code_revision=code_revision,
    )
    searched.set_display_name("Search")
    searched.set_accelerator_type(accelerator_type).set_accelerator_limit(accelerator_count)
    searched.set_cpu_request(cpu).set_cpu_limit(cpu)
    searched.set_memory_request(memory).set_memory_limit(memory)
    searched.set_retry(num_retries=_RETRIES)
    # What lies behind a URI is nothing that Kubeflow's cache looks at.
    searched.set_caching_options(enable_caching=False)
