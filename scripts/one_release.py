"""Looks at one release: at the rows that it would read, at how it answers a text, or by training it once more.

And copies the records of all of them to another registry.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment import PIPELINES_PYTHON, PROJECT

#: One text is answered in milliseconds; a server that takes longer is not worth the wait.
_ENDPOINT_SECONDS = 30


def reproduce(model: str) -> None:
    """Train a release again from its recorded facts and compare; serving and registry stay as they are."""
    version = os.environ.get("RELEASE", "")
    if not version:
        sys.exit(f"RELEASE is missing: make reproduce RELEASE={_known_versions(model)[0]} MODEL={model}")
    serving = json.dumps(_config(model).serving.packaging)
    arguments = [*_recorded(model, version), "--serving", serving]
    if tolerance := os.environ.get("TOLERANCE"):
        arguments += ["--tolerance", tolerance]
    if os.environ.get("ANY_CODE", "") not in ("", "0"):
        arguments += ["--any-code"]
    print(f"Training {model} {version} again; nothing is deployed or registered.", flush=True)
    sys.exit(_module("include.classifier.lookback.reproduce", arguments))


def explain(model: str, serving: Any) -> None:
    """Show how a release answers a text, and whether the endpoint answers alike."""
    text = os.environ.get("TEXT", "")
    if not text.strip():
        sys.exit("TEXT is missing: make explain TEXT='The food was great.'")
    # What answers is asked for without starting a server: a look must not change what it looks at.
    served = {found.version: found for found in serving.status() if found.model == model}
    live = next((version for version, found in served.items() if found.is_live), None)
    version = os.environ.get("VERSION") or live or _live_in_registry(model)
    answer = _served_answer(serving, model, version, text, is_live=version == live) if version in served else None
    question = json.dumps({"text": text, "served": answer})
    sys.exit(_module("include.classifier.lookback.explain", _recorded(model, version), question))


def preview(model: str) -> None:
    """Show the first rows of a source as a release would read them."""
    config = _config(model)
    data = config.data
    rows = os.environ.get("ROWS") or "5"
    if not rows.isdecimal():
        sys.exit(f"ROWS={rows!r} must be a number.")
    settings = data.model_dump() | ({"encoding": os.environ["ENCODING"]} if os.environ.get("ENCODING") else {})
    question = {"data": settings, "source": os.environ.get("DATA") or data.train[0], "rows": int(rows)}
    question["timezone"] = config.schedule.timezone
    sys.exit(_module("include.classifier.preview", [], json.dumps(question)))


def add_labels(model: str) -> None:
    """Take labels that have arrived for captured requests from a file."""
    file = os.environ.get("FILE", "")
    if not file:
        sys.exit("FILE is missing: make add-labels MODEL=… FILE=labels.csv, with the columns id, label and row.")
    config = _config(model)
    where = file if "://" in file else str(Path(file).resolve())
    arguments = ["--model", model, "--store-uri", config.store_uri, "--file", where]
    if isinstance(labels := getattr(getattr(config, "data", None), "labels", None), dict):
        arguments += ["--labels", json.dumps(labels)]
    sys.exit(_module("include.monitoring.labels", arguments))


def copy_records(source: str, target: str, models: Sequence[str]) -> None:
    """Copy the records of models from the registry of one connection to that of another; safe to repeat.

    :param source: Airflow connection. :param target: another one.
    """
    from airflow.sdk.exceptions import AirflowException

    from model_releases.registry import get_registry_service
    from model_releases.registry.copying import copy_releases

    if not source or not target or source == target:
        sys.exit("FROM and TO must name two connections: make copy-releases FROM=registry_default TO=kubeflow_registry")
    try:
        services = get_registry_service(source), get_registry_service(target)
        for model in models:
            done = copy_releases(*services, model)
            print(
                f"{model}: {done.copied} records copied, {done.there} were there; live is {done.live or 'nothing'}.",
                flush=True,
            )
    except AirflowException as error:
        sys.exit(f"{error}\nWhat was copied stays; repeat the command, and it goes on from there.")


def _served_answer(serving: Any, model: str, version: str, text: str, *, is_live: bool) -> dict[str, Any] | None:
    body = json.dumps({"instances": [text]}).encode()
    # Of the live version the address that users call is tried, of another its own.
    answer = serving.predict(model, body, version=None if is_live else version, timeout_seconds=_ENDPOINT_SECONDS)
    if answer.status_code != 200:
        print(f"The endpoint refused the text with {answer.status_code}.", file=sys.stderr)
        return None
    prediction: dict[str, Any] = answer.body["predictions"][0]
    return prediction


def _recorded(model: str, version: str) -> list[str]:
    """Return the arguments that name a recorded release."""
    release = _registry(model).get_release(model, version)
    if release is None:
        sys.exit(f"{model} {version} is in no record; there are {', '.join(_known_versions(model))}.")
    arguments = ["--candidate-uri", f"{_config(model).store_uri}/{version}/candidate.json"]
    if digest := release.facts.get("archive_sha256"):
        arguments += ["--archive-sha256", digest]
    return arguments


def _config(model: str) -> Any:
    from model_releases.config import read_model_configs

    (config,) = [config for config in read_model_configs() if config.name == model]
    return config


def _live_in_registry(model: str) -> str:
    live = _registry(model).get_live(model)
    if live is None:
        sys.exit(f"No version of {model} is live. Choose one with VERSION: {', '.join(_known_versions(model))}.")
    return str(live.version)


def _known_versions(model: str) -> list[str]:
    return [release.version for release in _registry(model).list_releases(model, limit=10)] or ["none"]


def _registry(model: str) -> Any:
    from model_releases.registry import get_registry_service

    return get_registry_service(_config(model).connection("registry"))


def _module(module: str, arguments: list[str], question: str | None = None) -> int:
    """Run a module of the pipeline half in this terminal and return its exit code."""
    command = [str(PIPELINES_PYTHON), "-m", module, *arguments]
    return subprocess.run(command, cwd=PROJECT, input=question, text=True).returncode
