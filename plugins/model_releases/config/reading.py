"""Reads ``include/models/*.yaml``: one file for each model that is released. DAG files do it at every parse."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.contracts.kinds import KUBEFLOW_MODEL, TEXT_CLASSIFIER
from include.contracts.section import problems
from include.models import MODELS_DIR, parse_model
from model_releases.config.kubeflow_model import KubeflowModelConfig
from model_releases.config.model import ModelConfig, ModelConfigError
from model_releases.config.text_classifier import TextClassifierConfig

#: Kind -> what its YAML may say.
CONFIGS: Mapping[str, type[ModelConfig]] = {
    TEXT_CLASSIFIER: TextClassifierConfig,
    KUBEFLOW_MODEL: KubeflowModelConfig,
}

#: The line of a YAML that names its model, as people write it. One that is written otherwise is found by reading it.
_NAME_LINE = re.compile(r"""^name:[ \t]*["']?([a-z0-9-]+)""", re.MULTILINE)


def read_model_config(path: str | Path) -> ModelConfig:
    """Read one YAML file.

    :raises ModelConfigError: naming the file and every setting that is wrong.
    """
    path = Path(path)
    try:
        document = parse_model(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelConfigError(f"{path}: cannot be read as YAML: {error}") from error
    except yaml.YAMLError as error:
        raise ModelConfigError(f"{path}: cannot be read as YAML: {_place(error)}") from None
    if not isinstance(document, dict):
        raise ModelConfigError(
            f"{path}: expected settings such as `name:` and `data:`, found {type(document).__name__}."
        )
    try:
        return _config_of(document, path).model_validate(document)
    except ValidationError as error:
        raise ModelConfigError(f"{path}: {problems(error)}") from None


def _config_of(document: Mapping[str, Any], path: Path) -> type[ModelConfig]:
    kind = document.get("kind", TEXT_CLASSIFIER)
    found = CONFIGS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise ModelConfigError(f"{path}: kind: it is none of {', '.join(sorted(CONFIGS))}")
    return found


def _place(error: yaml.YAMLError) -> str:
    """Say what is wrong and where, without the line itself: it may hold an address with a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"{error.problem} in line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"


def read_model_configs(folder: str | Path | None = None, *, leave_out_wrong: bool = False) -> list[ModelConfig]:
    """Read every ``*.yaml`` of a folder, in the order of the file names.

    :param folder: default ``$MODELS_DIR``, else ``include/models`` of this project.
    :param leave_out_wrong: for what must go on for the other models, such as putting a release back.
    :raises ModelConfigError: when a file is wrong or two files name the same model.
    """
    return _read(_files(folder), leave_out_wrong=leave_out_wrong)


def read_configs_to_build(dag_id_of: Callable[[str], str], *, leave_out_wrong: bool = False) -> list[ModelConfig]:
    """Read the models that a DAG file makes a DAG for: all of them, but only one where a task of its DAG is to be run.

    Every task reads its DAG file anew, in a process of its own. With hundreds of models that would be most of what a
    short task does, and a YAML that somebody has broken would end the tasks of all others.

    :param dag_id_of: name of a model -> the DAG that the file makes for it.
    :param leave_out_wrong: as for :func:`read_model_configs`.
    :raises ModelConfigError: when a file that is read is wrong, or two of them name the same model.
    """
    from airflow.sdk import get_parsing_context

    files, dag_id = _files(None), get_parsing_context().dag_id
    if dag_id and (own := [path for path in files if dag_id_of(_name_in(path)) == dag_id]):
        found = _read(own, leave_out_wrong=leave_out_wrong)
        if any(dag_id_of(config.name) == dag_id for config in found):
            return found
    return _read(files, leave_out_wrong=leave_out_wrong)


def _files(folder: str | Path | None) -> list[Path]:
    return sorted(Path(folder or os.environ.get("MODELS_DIR") or MODELS_DIR).glob("*.yaml"))


def _name_in(path: Path) -> str:
    """Return the name that a file gives its model, as far as that is seen without reading it as YAML."""
    try:
        found = _NAME_LINE.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def _read(files: Sequence[Path], *, leave_out_wrong: bool) -> list[ModelConfig]:
    configs: dict[str, tuple[Path, ModelConfig]] = {}
    for path in files:
        try:
            config = read_model_config(path)
        except ModelConfigError:
            if leave_out_wrong:
                continue
            raise
        if config.name in configs:
            raise ModelConfigError(f"{path}: model {config.name!r} is defined in {configs[config.name][0]} already.")
        configs[config.name] = (path, config)
    return [config for _, config in configs.values()]
