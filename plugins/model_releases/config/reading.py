"""Reads ``include/models/*.yaml``: one file for each model that is released. DAG files do it at every parse."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
    folder = Path(folder or os.environ.get("MODELS_DIR") or MODELS_DIR)
    configs: dict[str, tuple[Path, ModelConfig]] = {}
    for path in sorted(folder.glob("*.yaml")):
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
