"""A whole release in Kubeflow, without Airflow: load data, train, package, evaluate, register, deploy, predict.

Upload release_in_kubeflow.yaml in the UI of Kubeflow Pipelines and start a run: every parameter has a default, which
trains and deploys the sample model. docs/kubeflow.md says what the cluster needs. It is made of the functions that the
release under Airflow is made of; what it lacks is what Airflow adds: a candidate beside the live model, smoke tests
with bad input and latency, an approval, alerts.
"""

# No `from __future__ import annotations`: kfp reads the types at run time and cannot take them as text.
from typing import NamedTuple

from kfp import dsl  # noqa: TID253  imported to be compiled, never by a DAG
from kfp import kubernetes as cluster  # noqa: TID253

from include.models import read_trained_model
from include.pipelines.release_pods import prepare_pod, read_side_by_side
from include.pipelines.train_classifier import IMAGE, evaluate, package, prepare_training, train
from include.release_in_kubeflow.inference_service import VOLUME_PATH
from include.release_in_kubeflow.registry import RUN_ID_VARIABLE

_SAMPLE = read_trained_model("sample-reviews")
_FIELDS_OF_THE_GATE = {"min_macro_f1", "max_regression", "confidence", "when_inconclusive"}

_component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@_component
def load_data(
    data: dict,
    model_name: str,
    model_version: str,
    store_uri: str,
    training: dict,
    tracking_uri: str,
    registry_uri: str,
) -> NamedTuple(  # type: ignore[valid-type]
    "Release",
    model_version=str,
    output_uri=str,
    dataset_uri=str,
    live_uri=str,
    how=str,
    parts=list,
    request=dict,
    seed=int,
):
    """Write the data set: valid rows without what would spoil the measurement. Or plan which step reads what of it."""
    from include.release_in_kubeflow.steps import load_data_step

    return load_data_step(
        data=data,
        model_name=model_name,
        model_version=model_version,
        store_uri=store_uri,
        training=training,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
    )


@_component
def register(
    output_uri: str,
    tracking_uri: str,
    registry_uri: str,
    min_macro_f1: float,
    max_regression: float,
    when_inconclusive: str,
    gate: dict,
) -> dict:
    """Register the candidate in the registry, or reject it; returns the digests of what was judged."""
    from include.release_in_kubeflow.steps import register_step

    return register_step(
        output_uri=output_uri,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        min_macro_f1=min_macro_f1,
        max_regression=max_regression,
        when_inconclusive=when_inconclusive,
        gate=gate,
    )


@_component
def deploy(
    output_uri: str,
    judged: dict,
    tracking_uri: str,
    registry_uri: str,
    volume: str,
    runtime: str,
    namespace: str,
    service_account: str,
    cpu: str,
    memory: str,
    min_replicas: int,
) -> None:
    """Deploy the package with KServe and wait until the new version answers."""
    from include.release_in_kubeflow.steps import deploy_step

    deploy_step(
        output_uri=output_uri,
        judged=judged,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        volume=volume,
        runtime=runtime,
        namespace=namespace,
        service_account=service_account,
        cpu=cpu,
        memory=memory,
        min_replicas=min_replicas,
    )


@_component
def predict(
    output_uri: str,
    judged: dict,
    tracking_uri: str,
    registry_uri: str,
    namespace: str,
    labels: dsl.Output[dsl.Metrics],
) -> None:
    """Ask the deployed model the golden examples; put the version before back when it answers wrongly."""
    from include.release_in_kubeflow.steps import predict_step

    counts = predict_step(
        output_uri=output_uri,
        judged=judged,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        namespace=namespace,
    )
    for label, count in counts.items():
        labels.log_metric(label, count)


@dsl.pipeline(
    name="release-in-kubeflow",
    display_name="Release a text classifier",
    description="Loads data, trains, packages, evaluates, registers, deploys with KServe and predicts.",
)
def release_in_kubeflow(
    model_name: str = _SAMPLE.name,
    data: dict = _SAMPLE.data.model_dump(mode="json", exclude_none=True),  # noqa: B008  compiled into the IR, never called
    store_uri: str = f"file://{VOLUME_PATH}",
    volume: str = "models",
    model_version: str = "",
    training: dict = _SAMPLE.training.model_dump(exclude_none=True),  # noqa: B008
    serving: dict = {},  # noqa: B006
    min_macro_f1: float = _SAMPLE.gate.min_macro_f1,
    max_regression: float = _SAMPLE.gate.max_regression,
    confidence: float = _SAMPLE.gate.confidence,
    when_inconclusive: str = _SAMPLE.gate.when_inconclusive,
    gate: dict = _SAMPLE.gate.model_dump(exclude=_FIELDS_OF_THE_GATE),  # noqa: B008
    tracking_uri: str = "",
    registry_uri: str = "",
    experiment_name: str = "",
    credentials: str = "model-release",
    runtime: str = "kubeflow-model-release",
    namespace: str = "",
    serving_service_account: str = "",
    serving_cpu: str = "1",
    serving_memory: str = "2Gi",
    min_replicas: int = 1,
    image: str = IMAGE,
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator_type: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> None:
    """Release a model.

    Args:
        model_name: Name in the URL, the registry and of the InferenceService.
        data: The section `data` of a model's YAML: train, evaluation, text_column, label_column, labels and more.
        store_uri: Model store; below file:///mnt/models it lies on the volume, else for example s3://bucket/models.
        volume: Persistent volume claim that is mounted at /mnt/models; no matter when compiled for an object store.
        model_version: Version of the release, 14 digits; empty for the present time. If taken, the next second.
        training: The section `training` of a model's YAML: base_model, epochs, learning_rate, seed and more.
        serving: Settings of the model server: workers, batch_size, max_batch_delay_ms, response_timeout_seconds.
        min_macro_f1: Macro F1 on the evaluation rows, at least; a worse candidate is rejected.
        max_regression: How much macro F1 may lie below the live model's on the same rows.
        confidence: Of the interval around that difference, between 0 and 1.
        when_inconclusive: What to do when the interval holds both sides of the margin, "reject" or "release".
        gate: The other conditions of the section `gate` of a model's YAML, must_beat_baseline for example.
        tracking_uri: MLflow's address, for metrics, and releases without another registry; empty for neither.
        registry_uri: Address of Kubeflow's Model Registry, for releases; empty to record them in MLflow.
        experiment_name: MLflow experiment; empty for the model's name.
        credentials: Secret with any of MLFLOW_TRACKING_*, MODEL_REGISTRY_TOKEN, AWS_*, HF_TOKEN; it need not exist.
        runtime: ServingRuntime of the serving image, for example from deploy/serving-runtime.yaml.
        namespace: Where the InferenceService is; empty for the run's own namespace.
        serving_service_account: Of the serving pods, for example with the object store's secret; empty for default.
        serving_cpu: CPUs of each serving pod.
        serving_memory: Memory of each serving pod.
        min_replicas: Serving pods, at least; 0 lets KServe scale to zero where it can.
        image: Image of every step, where your cluster can pull it.
        cpu: CPUs of each step, requested and allowed.
        memory: Memory of each step, requested and allowed.
        accelerator_type: Resource name of the accelerator for training.
        accelerator_count: How many of it, as text: Kubeflow reads a number as none.
    """
    loaded = load_data(
        data=data,
        model_name=model_name,
        model_version=model_version,
        store_uri=store_uri,
        training=training,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
    )
    loaded.set_display_name("Load data")
    version, output_uri = loaded.outputs["model_version"], loaded.outputs["output_uri"]

    # Nothing of it runs where `load_data` has read the data, which it does unless `data.parallel_files` says otherwise.
    read = read_side_by_side(
        how=loaded.outputs["how"],
        parts=loaded.outputs["parts"],
        request=loaded.outputs["request"],
        model_name=model_name,
        seed=loaded.outputs["seed"],
        image=image,
        cpu=cpu,
        memory=memory,
        volume=volume,
        credentials=credentials,
    )
    read.set_display_name("Read side by side")
    read.set_caching_options(enable_caching=False)

    trained = train(
        dataset_uri=loaded.outputs["dataset_uri"],
        model_name=model_name,
        model_version=version,
        output_uri=output_uri,
        training=training,
        tracking_uri=tracking_uri,
        experiment_name=experiment_name,
        code_revision="",
    )
    trained.set_display_name("Train").after(read)
    trained.set_accelerator_type(accelerator_type).set_accelerator_limit(accelerator_count)
    prepare_training(trained)

    packaged = package(
        dataset_uri=loaded.outputs["dataset_uri"],
        model_name=model_name,
        model_version=version,
        output_uri=output_uri,
        serving=serving,
        model=trained.outputs["model"],
    )
    packaged.set_display_name("Package")

    evaluated = evaluate(
        dataset_uri=loaded.outputs["dataset_uri"],
        model_name=model_name,
        model_version=version,
        output_uri=output_uri,
        live_uri=loaded.outputs["live_uri"],
        confidence=confidence,
        tracking_uri=tracking_uri,
        code_revision="",
        shadow={},  # the InferenceService that it deploys captures nothing
        training_facts=trained.outputs["training_facts"],
        package_facts=packaged.outputs["package_facts"],
    )
    evaluated.set_display_name("Evaluate")

    registered = register(
        output_uri=output_uri,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        min_macro_f1=min_macro_f1,
        max_regression=max_regression,
        when_inconclusive=when_inconclusive,
        gate=gate,
    )
    registered.set_display_name("Register").after(evaluated)
    # Kubeflow leaves `dsl.PIPELINE_JOB_ID_PLACEHOLDER` in a parameter as it is.
    cluster.use_field_path_as_env(registered, RUN_ID_VARIABLE, "metadata.labels['pipeline/runid']")

    deployed = deploy(
        output_uri=output_uri,
        judged=registered.output,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        volume=volume,
        runtime=runtime,
        namespace=namespace,
        service_account=serving_service_account,
        cpu=serving_cpu,
        memory=serving_memory,
        min_replicas=min_replicas,
    )
    deployed.set_display_name("Deploy")

    predicted = predict(
        output_uri=output_uri,
        judged=registered.output,
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        namespace=namespace,
    )
    predicted.set_display_name("Predict").after(deployed)

    for task in (loaded, trained, packaged, evaluated, registered, deployed, predicted):
        prepare_pod(task, image=image, cpu=cpu, memory=memory, volume=volume, credentials=credentials)
