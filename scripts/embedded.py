"""Commands of the embedded world, called by the Makefile: release, roll-back, airflow, serve, status, stop."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import one_release
import searching
from airflow_process import PARTS, airflow_processes, start_airflow, stop_airflow
from environment import environment, keep_private, state_dir
from only_one import one_starter
from terminal import fit_terminal
from terminal_dags import end_terminal_dags, run_dag

from include.contracts.form import FIELDS, read_field
from include.contracts.monitoring.layout import OFF
from include.contracts.rules.allowed_sources import EVERYTHING
from include.contracts.uris import local_path
from model_releases import ids


def _sources(text: str) -> list[str]:
    return re.split(r"[,\s]+", text.strip())


def _yes_or_no(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


DEFAULT_SERVING = "serving_default"
#: The servers of this machine, by their connections.
SERVING = {DEFAULT_SERVING: "TorchServe", "serving_native": "Native", "local_kserve_default": "KServe"}

#: Field of the release form -> how the text of its variable is read; the variable is its name in capitals.
FORM_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "train": _sources,
    "evaluation": _sources,
    **{name: partial(read_field, section, name) for section, names in FIELDS.items() for name in names},
    "settings_from": str,
    "require_approval": _yes_or_no,
}


def form_values(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the form's fields that the user has set.

    :raises SystemExit: naming the setting that cannot be read.
    """
    values = {}
    for field, read in FORM_FIELDS.items():
        if text := settings.get(field.upper(), ""):
            try:
                values[field] = read(text)
            except (ValueError, KeyError):
                sys.exit(f"{field.upper()}={text!r} is not valid for the form's field {field!r}.")
    return values


def release(env: Mapping[str, str]) -> None:
    """Run one release in this terminal, without a scheduler, and leave its whole log in a file."""
    model = _chosen_model()
    conf = form_values(os.environ) | _parameters(os.environ.get("PARAMETERS", ""))
    # Whoever has a terminal here may read everything that the release may.
    trusted = {**env, "ALLOWED_SOURCES": EVERYTHING}
    run_dag(trusted, ids.release_dag(model), conf, f"release of {model}")


def _parameters(text: str) -> dict[str, Any]:
    """Return the fields of a pipeline of one's own, from a JSON object.

    :raises SystemExit: when it is none.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        sys.exit(f"PARAMETERS={text!r} must be a JSON object, such as '{{\"seed\": 8}}'.")
    return found


def roll_back(env: Mapping[str, str]) -> None:
    """Put an earlier release back, in this terminal."""
    model = _chosen_model()
    given = {name: os.environ.get(name.upper(), "") for name in ("version", "reason")}
    conf = {name: text for name, text in given.items() if text}
    run_dag(env, ids.roll_back_dag(model), conf, f"roll back of {model}")


def predict(env: Mapping[str, str]) -> None:
    """Score a table or a folder, in this terminal; the same command again goes on with what is not there yet."""
    model = _chosen_classifier()
    data, output = os.environ.get("DATA", ""), os.environ.get("OUTPUT", "")
    if not data or not output:
        sys.exit(f"make predict MODEL={model} DATA=reviews.csv OUTPUT=scores: the data and the folder to write to.")
    conf: dict[str, Any] = {"data": data, "output": output}
    if columns := os.environ.get("TEXT_COLUMN", ""):
        conf["text_columns"] = [column.strip() for column in columns.split(",")]
    if version := os.environ.get("VERSION", ""):
        conf["version"] = version
    for name in ("workers", "shard_rows"):
        if text := os.environ.get(name.upper(), ""):
            if not text.isdecimal():
                sys.exit(f"{name.upper()}={text!r} must be a number.")
            conf[name] = int(text)
    # Whoever has a terminal here may read and write everything that the steps may.
    trusted = {**env, "ALLOWED_SOURCES": EVERYTHING, "ALLOWED_OUTPUTS": EVERYTHING}
    run_dag(trusted, ids.batch_predict_dag(model), conf, f"prediction of {model}")


def take_over(env: Mapping[str, str]) -> None:
    """Take a release over from another installation with the same model store, in this terminal."""
    model = _chosen_model()
    given = {"version": os.environ.get("VERSION", ""), "release_sha256": os.environ.get("RELEASE_SHA256", "")}
    if missing := [name.upper() for name, text in given.items() if not text]:
        sys.exit(f"{' and '.join(missing)} missing: the version's page in the other installation shows them.")
    is_older_allowed = (os.environ.get("ALLOW_OLDER") or "false").lower()
    if is_older_allowed not in ("true", "false"):
        sys.exit(f"ALLOW_OLDER={os.environ['ALLOW_OLDER']!r} must be true or false.")
    conf = {**given, "allow_older": is_older_allowed == "true"}
    run_dag(env, ids.take_over_dag(model), conf, f"taking over of {model}")


def test_alert(env: Mapping[str, str]) -> None:
    """Send one alert of each severity to whoever a model's alerts go to."""
    model = _chosen_model()
    run_dag(env, "test_alerts", {"model": model}, f"test alert of {model}")


def retention(env: Mapping[str, str]) -> None:
    """List the versions whose files would go, or delete them, in this terminal."""
    conf: dict[str, Any] = {"dry_run": _is_dry_run("delete")}
    if os.environ.get("MODEL"):
        conf["model"] = _chosen_model()
    run_dag(env, "retention", conf, "retention")


def staleness(env: Mapping[str, str]) -> None:
    """Measure what older versions lose on newer data, in this terminal."""
    conf = {"model": _chosen_classifier()} | ({"versions": int(text)} if (text := os.environ.get("VERSIONS")) else {})
    run_dag(env, ids.STALENESS_DAG, conf, "staleness")


def search(env: Mapping[str, str]) -> None:
    """Search better settings in this terminal, and release with them where that is asked for."""
    searching.search(_chosen_classifier(), {**env, "ALLOWED_SOURCES": EVERYTHING})


def orphans(env: Mapping[str, str]) -> None:
    """List the pipeline runs that no task waits for any more, or cancel them, in this terminal."""
    run_dag(env, "orphaned_runs", {"dry_run": _is_dry_run("cancel")}, "search for orphaned runs")


def _is_dry_run(otherwise: str) -> bool:
    answer = os.environ.get("DRY_RUN") or "1"
    if answer not in ("0", "1"):
        sys.exit(f"DRY_RUN={answer!r} must be 1 (only list) or 0 ({otherwise}).")
    return answer == "1"


def reproduce(env: Mapping[str, str]) -> None:
    """Train a release again from its recorded facts, and compare."""
    one_release.reproduce(_chosen_classifier())


def explain(env: Mapping[str, str]) -> None:
    """Show how a release answers a text."""
    model = _chosen_classifier()
    one_release.explain(model, _serving(_connection_of(model)))


def check_run(env: Mapping[str, str]) -> None:
    """Say whether a release could take what a finished run has made."""
    from kubeflow_provider.exceptions import KubeflowProviderError
    from model_releases.config import KubeflowModelConfig, read_model_configs
    from model_releases.kinds.kubeflow_model.checking import check_run as lines_of

    model, run_id = _chosen_model(), os.environ.get("RUN", "")
    (config,) = [config for config in read_model_configs() if config.name == model]
    if not isinstance(config, KubeflowModelConfig) or not run_id:
        sys.exit("make check-run MODEL=… RUN=…: a model of kind kubeflow-model, and the id of a run of its pipeline.")
    try:
        for line in lines_of(config, run_id, outputs_uri=os.environ.get("OUTPUTS", "")):
            print(line, flush=True)
    except KubeflowProviderError as error:
        sys.exit(str(error))


def copy_releases(env: Mapping[str, str]) -> None:
    """Copy the records of releases from the registry of one connection to that of another, of one model or of all."""
    from model_releases.config import read_model_configs

    chosen = os.environ.get("MODEL")
    models = [chosen] if chosen else [config.name for config in read_model_configs()]
    one_release.copy_records(os.environ.get("FROM", ""), os.environ.get("TO", ""), models)


def preview(env: Mapping[str, str]) -> None:
    """Show the first rows of a source as a release of the model would read them."""
    one_release.preview(_chosen_classifier())


def _chosen_model() -> str:
    from model_releases.config import read_model_configs

    model = os.environ.get("MODEL") or "sample-reviews"
    names = [config.name for config in read_model_configs()]
    if model not in names:
        sys.exit(f"MODEL={model!r} is not there; include/models has {', '.join(names)}.")
    return model


def _chosen_classifier() -> str:
    from model_releases.config import TextClassifierConfig, read_model_configs

    model = _chosen_model()
    if not any(config.name == model and isinstance(config, TextClassifierConfig) for config in read_model_configs()):
        sys.exit(f"MODEL={model!r} is no text classifier of this project: this command knows no other models.")
    return model


def add_labels(env: Mapping[str, str]) -> None:
    """Take labels that have arrived for captured requests from a file."""
    one_release.add_labels(_chosen_model())


def forget(env: Mapping[str, str]) -> None:
    """Delete the captured requests with some ids, and the labels that came for them later."""
    from include.capture.forgetting import ForgettingError, read_ids
    from include.capture.forgetting import forget as forget_in

    model = _chosen_model()
    try:
        found = forget_in(_folder_of(model), read_ids(os.environ.get("IDS", "")))
    except ForgettingError as error:
        sys.exit(str(error))
    print(
        f"{model}: deleted {found.requests} captured request(s) and {found.labels} label(s) in {found.files} file(s)."
    )


def capture_off(env: Mapping[str, str]) -> None:
    """Capture nothing of any model in this store any more; servers that run stop within a second."""
    for folder in _stores():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OFF).touch()
        print(f"Nothing is captured of the models in {folder} until `make capture-on`. What was captured stays.")


def capture_on(env: Mapping[str, str]) -> None:
    """Capture again what the models' YAML files say."""
    for folder in _stores():
        (folder / OFF).unlink(missing_ok=True)
        print(f"Requests to the models in {folder} are captured as `capture` of their YAML says.")


def _stores() -> list[Path]:
    """Return the folders in which the models' own lie."""
    from model_releases.config import read_model_configs

    return sorted({_folder_of(config.name).parent for config in read_model_configs()})


def _folder_of(model: str) -> Path:
    from model_releases.config import read_model_configs

    uri = next(config.store_uri for config in read_model_configs() if config.name == model)
    if not uri.startswith("file:"):
        sys.exit(
            f"The store of {model} is {uri}, and captured requests lie in folders only: nothing is captured there."
        )
    return Path(local_path(uri))


def serve(env: Mapping[str, str]) -> None:
    """Start TorchServe with the versions that were live, and the other servers where a model has them."""
    from model_releases.config import read_model_configs

    used = {config.connection("serving") for config in read_model_configs()}
    found = [_serving(each).test_connection() for each in SERVING if each in used or each == DEFAULT_SERVING]
    print("\n".join(message for _, message in found))
    if not all(works for works, _ in found):
        sys.exit(1)


def status(env: Mapping[str, str]) -> None:
    """Say what is running, what is live and how the last releases ended."""
    from model_releases.config import read_model_configs
    from model_releases.registry import get_registry_service

    running = airflow_processes(env)
    missing = [part for part in PARTS if part not in running]
    where = env["AIRFLOW__API__BASE_URL"] if running else "not running (make airflow)"
    print(f"Airflow:    {where}{' without ' + ', '.join(missing) if running and missing else ''}")
    live = {}
    for conn_id, name in SERVING.items():
        deployments = _serving(conn_id).status()
        if deployments or conn_id == DEFAULT_SERVING:
            loaded = f"{len(deployments)} version(s) loaded" if deployments else "not running (make serve)"
            print(f"{f'{name}:':<11} {loaded}")
        live |= {(conn_id, each.model): each.version for each in deployments if each.is_live}
    registry = get_registry_service("registry_default")
    for config in read_model_configs():
        conn_id = config.connection("serving")
        version = live.get((conn_id, config.name))
        where = f"{version} answers at {_serving(conn_id).endpoint_url(config.name)}" if version else "nothing answers"
        print(f"\n{config.name}: {where}")
        for record in registry.list_releases(config.name, limit=5):
            print(f"  {record.version}  {record.state.value:<12} {record.reason}")


def stop(env: Mapping[str, str]) -> None:
    """Stop everything that runs in the background or in another terminal."""
    for what in end_terminal_dags():
        print(f"Ended in another terminal: {what}.")
    print("Airflow stopped." if stop_airflow(env) else "Airflow was not running.")
    print(f"{_pipelines().terminate_all()} pipeline run(s) cancelled.")
    for conn_id, name in SERVING.items():
        if _serving(conn_id).stop():
            print(f"{name} stopped.")
        elif conn_id == DEFAULT_SERVING:
            print(f"{name} was not running.")


def _serving(conn_id: str) -> Any:
    from kubeflow_provider.hooks import get_serving_service

    return get_serving_service(conn_id)


def _connection_of(model: str) -> str:
    from model_releases.config import read_model_configs

    return next(config.connection("serving") for config in read_model_configs() if config.name == model)


def _pipelines() -> Any:
    from kubeflow_provider.hooks import get_pipeline_service

    return get_pipeline_service("pipelines_default")


COMMANDS = {
    "release": release,
    "roll-back": roll_back,
    "take-over": take_over,
    "predict": predict,
    "test-alert": test_alert,
    "retention": retention,
    "staleness": staleness,
    "search": search,
    "orphans": orphans,
    "reproduce": reproduce,
    "explain": explain,
    "check-run": check_run,
    "copy-releases": copy_releases,
    "preview": preview,
    "add-labels": add_labels,
    "forget": forget,
    "capture-off": capture_off,
    "capture-on": capture_on,
    "airflow": start_airflow,
    "serve": serve,
    "status": status,
    "stop": stop,
}

#: Those that start or stop what runs in the background.
_STARTERS = frozenset({"airflow", "serve", "stop"})


def main() -> None:
    """Run one command."""
    fit_terminal()
    os.umask(0o077)  # until it is known where the store is
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    arguments = parser.parse_args()
    env = environment(
        state_dir(),
        airflow_port=int(os.environ.get("AIRFLOW_PORT") or 8080),
        serving_port=int(os.environ.get("SERVING_PORT") or 8085),
    )
    keep_private(state_dir(), env["MODEL_STORE"])
    os.environ.update(env)  # before Airflow is imported: it reads its settings then
    with one_starter(state_dir()) if arguments.command in _STARTERS else nullcontext():
        COMMANDS[arguments.command](env)


if __name__ == "__main__":
    main()
