"""A release as one script: the same functions one after the other in one process, without Airflow and without kfp.

``python -m benchmarks.bare_release REQUEST``, in the pipeline half's environment, prints a line of JSON: when each step
began and ended. There is no check of what is live, no gate, no approval, nothing to take up after a crash, and no roll
back; the server that proves the release ends with the script.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = "20260101000000"
#: Step -> seconds since the epoch at which it began and ended.
Times = dict[str, tuple[float, float]]


def release(request: dict[str, Any]) -> Times:
    """Release a model and return when each step ran.

    :param request: ``model`` (name of a file in ``include/models``), ``train`` (CSV) and ``folder`` (gets everything).
    """
    from include.classifier.packaging.server import torchserve
    from include.classifier.preprocess import preprocess
    from include.classifier.steps import evaluate_step, package_step, train_step
    from include.contracts.registry_tags import ReleaseState
    from include.models import read_trained_model
    from include.release_in_kubeflow.registry import registry_of
    from include.release_in_kubeflow.steps import read_candidate

    times: Times = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.time()
        yield
        times[name] = (began, time.time())

    model, folder = request["model"], Path(request["folder"])
    config = read_trained_model(model)
    settings = config.training.model_dump()
    output_uri, tracking_uri = folder.as_uri(), f"sqlite:///{folder}/mlflow.db"
    dataset_uri = f"{output_uri}/dataset/dataset.json"
    training_file, package_file = str(folder / "training.json"), str(folder / "package.json")
    this = {"dataset_uri": dataset_uri, "model_name": model, "model_version": VERSION}

    with step("preprocess"):
        data = config.data.with_sources([request["train"]], config.data.evaluation)
        preprocess(data, model=model, seed=settings["seed"], output_uri=f"{output_uri}/dataset")
    with step("train"):
        train_step(
            **this,
            model_dir=str(folder / "model"),
            training_file=training_file,
            settings=settings,
            tracking_uri=tracking_uri,
        )
    with step("package"):
        package_step(
            **this,
            model_dir=str(folder / "model"),
            package_file=package_file,
            output_uri=output_uri,
            serving=config.serving.model_dump(),
        )
    with step("evaluate"):
        evaluate_step(
            **this,
            package_file=package_file,
            training_file=training_file,
            output_uri=output_uri,
            confidence=config.gate.confidence,
            tracking_uri=tracking_uri,
        )
    judged = read_candidate(output_uri)
    candidate = judged.model_dump(exclude_unset=True)
    with step("register"):
        releases = registry_of(tracking_uri)
        releases.register(judged, state=ReleaseState.CANDIDATE)
    deployed = torchserve(folder / "package")
    with step("deploy"):
        server = deployed.__enter__()
        server.wait_until_ready(model)
    try:
        with step("smoke test"):
            examples = candidate["golden_examples"]
            for asked in (examples, *([example] for example in examples)):
                _ask(server, model, asked)
        with step("promote"):
            releases.set_state(model, VERSION, ReleaseState.LIVE)
    finally:
        deployed.__exit__(None, None, None)
    return times


def _ask(server: Any, model: str, examples: Sequence[Mapping[str, Any]]) -> None:
    status, answer = server.predict(
        f"/v1/models/{model}:predict", {"instances": [example["text"] for example in examples]}
    )
    labels = [prediction["label"] for prediction in answer["predictions"]] if status == 200 else status
    if labels != [example["label"] for example in examples]:
        raise RuntimeError(f"The deployed model answers otherwise than recorded: {labels}.")


if __name__ == "__main__":
    print(json.dumps(release(json.loads(sys.argv[1]))))
