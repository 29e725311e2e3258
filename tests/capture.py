"""Records what a real server answers, for the doubles to be held to: ``python -m tests.capture SYSTEM``.

Three systems are known, and found as the tests of this project find a real one:

``kubeflow_pipelines``
    ``KFP_ENDPOINT``, ``KFP_NAMESPACE``, ``KFP_TOKEN`` (of a service account with the rights of
    ``deploy/pipelines-rbac.yaml`` and no others), ``KFP_IMAGE`` (an image with Python that the nodes can pull),
    ``KFP_OTHER_NAMESPACE`` (one where it has no rights, default ``kubeflow``). It starts four runs.
``kserve``
    ``KSERVE_KUBECONFIG``, ``KSERVE_NAMESPACE`` with the runtime of ``deploy/serving-runtime.yaml``,
    ``KSERVE_PACKAGE`` and ``KSERVE_NOTHING``: the storage URI of a package that can be served, and one of a folder
    without any. It makes three InferenceServices in Standard mode and deletes them again.
``model_registry``
    ``MODEL_REGISTRY_URL`` (the address without ``/api/model_registry``), ``MODEL_REGISTRY_TOKEN`` where a gateway wants
    one, and ``MODEL_REGISTRY_VERSION``, which the server does not tell: what the folder is called. What it makes stays
    there for ever, for nothing can be deleted.

The record becomes ``tests/captured/<system>/<version>/calls.json``, beside those of other versions, and the tests hold
the double of that version to it from then on. Names, ids and addresses are replaced before anything is written
(``tests/capturing/replacing.py``); read the file once before you commit it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import httpx

from tests.capturing import kserve, kubeflow_pipelines, model_registry
from tests.capturing.recording import Recorder, over_http, over_kubernetes

HERE = Path(__file__).parent
CAPTURED = HERE / "captured"
RUNTIME = HERE.parent / "deploy" / "serving-runtime.yaml"
PIPELINE = HERE / "test_pipelines" / "record_and_wait.yaml"
_IMAGE_OF_PIPELINE = "image: python:3.11"
_PATIENCE_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> Path:
    """Record one server and return the file that was written."""
    asked = _parser().parse_args(arguments)
    names = dict(_pair(text) for text in asked.replace)
    record = {
        "kubeflow_pipelines": record_kubeflow_pipelines,
        "kserve": record_kserve,
        "model_registry": record_model_registry,
    }[asked.system]
    recorder, version = record(os.environ, names, name=asked.name, pause_seconds=asked.pause_seconds)
    file = recorder.save((asked.into or CAPTURED / asked.system) / version)
    if asked.system == "kserve":
        shutil.copyfile(RUNTIME, file.with_name("runtime.yaml"))
    print(f"{file}: {len(recorder.calls)} answers of {asked.system} {version}")
    return file


def record_kubeflow_pipelines(
    environment: Mapping[str, str], names: Mapping[str, str], *, name: str, pause_seconds: float
) -> tuple[Recorder, str]:
    """Return the answers of the server of ``KFP_ENDPOINT``, and its version.

    :param names: name -> what is written in its place, besides the namespace's.
    :param name: of what is made there.
    """
    endpoint, token, namespace = _wanted(environment, "KFP_ENDPOINT", "KFP_TOKEN", "KFP_NAMESPACE")
    pipeline = PIPELINE.read_text(encoding="utf-8")
    if image := environment.get("KFP_IMAGE"):
        pipeline = pipeline.replace(_IMAGE_OF_PIPELINE, f"image: {image}")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=endpoint, headers=headers, timeout=_PATIENCE_SECONDS) as client:
        version = client.get("/apis/v2beta1/healthz").raise_for_status().json().get("tag_name") or "unknown"
        recorder = Recorder(over_http(client), {namespace: "team", name: "captured", **names})
        kubeflow_pipelines.Story(
            namespace=namespace,
            others=environment.get("KFP_OTHER_NAMESPACE", "kubeflow"),
            pipeline=pipeline.encode(),
            name=name,
            pause_seconds=pause_seconds,
        ).tell(recorder)
    return recorder, version


def record_kserve(
    environment: Mapping[str, str], names: Mapping[str, str], *, name: str, pause_seconds: float
) -> tuple[Recorder, str]:
    """Return the answers of the cluster of ``KSERVE_KUBECONFIG``, and the version of its KServe with the mode."""
    from kubernetes import config

    names_of_variables = ("KSERVE_KUBECONFIG", "KSERVE_NAMESPACE", "KSERVE_PACKAGE", "KSERVE_NOTHING")
    kubeconfig, namespace, package, nothing = _wanted(environment, *names_of_variables)
    uri = "pvc://models/reviews/20260101000000/package"
    made_up = {namespace: "team", name: "reviews", package: uri, nothing: "pvc://models/nowhere"}
    send = over_kubernetes(config.new_client_from_config(kubeconfig))
    recorder = Recorder(send, {**made_up, **names})
    kserve.Story(
        namespace=namespace,
        package=package,
        nothing=nothing,
        name=name,
        pause_seconds=pause_seconds,
    ).tell(recorder)
    return recorder, f"{kserve.version_of(recorder)}-standard"


def record_model_registry(
    environment: Mapping[str, str], names: Mapping[str, str], *, name: str, pause_seconds: float
) -> tuple[Recorder, str]:
    """Return the answers of the server of ``MODEL_REGISTRY_URL``, and its version."""
    url, version = _wanted(environment, "MODEL_REGISTRY_URL", "MODEL_REGISTRY_VERSION")
    token = environment.get("MODEL_REGISTRY_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE_SECONDS) as client:
        recorder = Recorder(over_http(client), {**model_registry.names(name), **names})
        model_registry.Story(name=name).tell(recorder)
    return recorder, version


def _wanted(environment: Mapping[str, str], *names: str) -> list[str]:
    if missing := [name for name in names if not environment.get(name)]:
        sys.exit(f"Set {', '.join(missing)}: tests/capture.py says what each is.")
    return [environment[name] for name in names]


def _pair(text: str) -> tuple[str, str]:
    name, equals, made_up = text.partition("=")
    if not (name and equals):
        sys.exit(f"--replace {text}: write NAME=MADE_UP.")
    return name, made_up


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.capture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=("kubeflow_pipelines", "kserve", "model_registry"))
    parser.add_argument("--replace", action="append", default=[], metavar="NAME=MADE_UP", help="may be repeated")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="instead of tests/captured/<system>")
    parser.add_argument("--name", default=f"captured-{uuid4().hex[:8]}", help="of what is made there (default random)")
    parser.add_argument("--pause-seconds", type=float, default=5, help="between two looks (default 5)")
    return parser


if __name__ == "__main__":
    main()
