"""Checks models' YAML files without starting anything: `make validate`, for a pull request.

``MODEL`` is the name of a model, a file, or a folder; none: ``$MODELS_DIR``, else ``include/models``. Of each file it
checks that every setting is known and possible, that Airflow can build the release DAG from it, and that the pipeline
takes the parameters that the DAG would give it. Data, connections and clusters are not asked: the task `check` does
that, at the beginning of a release.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from environment import PROJECT
from terminal import fit_terminal

if TYPE_CHECKING:
    from model_releases.config import ModelConfig


def chosen(model: str) -> list[Path]:
    """Return the files that are meant.

    :param model: name of a model or of its file, a file, or a folder; empty: the folder of the models.
    :raises SystemExit: when there is none.
    """
    if Path(model).is_file():
        return [Path(model)]
    folder = Path(model or os.environ.get("MODELS_DIR") or PROJECT / "include" / "models")
    if folder.is_dir():
        found = sorted(folder.glob("*.yaml"))
    else:
        found = [path for path in chosen("") if path.stem == model or getattr(read(path), "name", None) == model]
    if not found:
        sys.exit(f"MODEL={model!r}: no file, no folder with files *.yaml, and no model of this installation.")
    return found


def read(path: Path) -> ModelConfig | str:
    """Return the model, or what is wrong with its file in one line that begins with its path."""
    from model_releases.config import ModelConfigError, read_model_config

    try:
        return read_model_config(path)
    except ModelConfigError as error:
        return " ".join(str(error).split())


def problems(paths: Iterable[Path]) -> Iterator[str]:
    """Yield what is wrong with the files, each in a line of its own."""
    names: dict[str, Path] = {}
    for path in paths:
        config = read(path)
        if isinstance(config, str):
            yield config
        elif (first := names.setdefault(config.name, path)) != path:
            yield f"{path}: model {config.name!r} is defined in {first} already."
        elif problem := unfit(config):
            yield f"{path}: {problem}"


def unfit(config: ModelConfig) -> str | None:
    """Return why no release can be made of a model, if none can."""
    from release_models import pipeline_parameters, release_dag

    from kubeflow_provider.exceptions import KubeflowProviderError
    from kubeflow_provider.pipelines.reading import read_pipeline_spec
    from kubeflow_provider.pipelines.spec import bind
    from model_releases.config import KubeflowModelConfig, TextClassifierConfig

    try:
        release_dag(config)
        if isinstance(config, TextClassifierConfig):
            bind(read_pipeline_spec(config.pipeline_file), pipeline_parameters(config, "20260101000000"))
        elif isinstance(config, KubeflowModelConfig) and (file := config.pipeline_arguments.get("pipeline_file")):
            bind(read_pipeline_spec(file), config.parameters)
    except KubeflowProviderError as error:
        return str(error)
    except Exception as error:  # whatever Airflow says of a DAG that it cannot build
        return f"Airflow cannot build a DAG from it: {type(error).__name__}: {error}"
    return None


def main() -> None:
    """Check and say what is wrong; end with 1 when something is."""
    fit_terminal()
    paths = chosen(os.environ.get("MODEL", ""))
    # The DAG file builds the DAGs of all models when it is imported: of none here.
    with tempfile.TemporaryDirectory() as empty:
        os.environ["MODELS_DIR"] = empty
        sys.path.insert(0, str(PROJECT / "dags"))
        importlib.import_module("release_models")
    if found := [*problems(paths)]:
        print(*found, sep="\n", file=sys.stderr)
        sys.exit(1)
    print(f"{', '.join(map(str, paths))}: fine.")


if __name__ == "__main__":
    main()
