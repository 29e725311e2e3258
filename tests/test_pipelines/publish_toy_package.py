"""A pipeline for tests that stands in the place of train_classifier: the same parameters, a toy model in no time.

``base_model`` says what the model is: ``sound``, a defect that tests/toy_handler.py knows, or ``pipeline fails``.
Compile it with the pipeline half's Python: ``PYTHONPATH=. python tests/test_pipelines/publish_toy_package.py``.
"""
# ruff: noqa: TID253 - what stands in a component is self-contained source

from pathlib import Path

from kfp import compiler, dsl

IMAGE = "python:3.11"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def publish(output_uri: str, model_name: str, model_version: str, training: dict) -> None:
    from pathlib import Path
    from urllib.parse import unquote, urlparse

    from tests.toy_package import publish

    behaviour = training.get("base_model", "sound")
    if behaviour == "pipeline fails":
        raise ValueError("the loss is not a number")
    publish(Path(unquote(urlparse(output_uri).path)), model=model_name, version=model_version, behaviour=behaviour)


@dsl.pipeline(name="publish-toy-package", display_name="Publish a toy package")
def publish_toy_package(
    dataset_uri: str,
    output_uri: str,
    model_name: str,
    model_version: str,
    training: dict = {},  # noqa: B006
    live_uri: str = "",
    confidence: float = 0.95,
    serving: dict = {},  # noqa: B006
    tracking_uri: str = "",
    experiment_name: str = "",
    code_revision: str = "",
    shadow: dict = {},  # noqa: B006
    cpu: str = "2",
    memory: str = "4Gi",
    accelerator_type: str = "nvidia.com/gpu",
    accelerator_count: str = "0",
) -> None:
    published = publish(output_uri=output_uri, model_name=model_name, model_version=model_version, training=training)
    published.set_caching_options(False)


if __name__ == "__main__":
    compiler.Compiler().compile(publish_toy_package, str(Path(__file__).with_suffix(".yaml")))
