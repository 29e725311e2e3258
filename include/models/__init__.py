"""One YAML file for each model that is released."""

from __future__ import annotations

from pathlib import Path

import yaml

from include.contracts.settings import TrainedModel

MODELS_DIR = Path(__file__).parent
PROJECT_DIR = MODELS_DIR.parents[1]


def read_trained_model(name: str) -> TrainedModel:
    """Return what the pipelines go by of a model in this folder; ``model_releases.config`` reads all of it.

    :param name: of the file, without ``.yaml``.
    :raises pydantic.ValidationError: naming every setting that is wrong.
    """
    document = yaml.safe_load((MODELS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    document.get("serving", {}).pop("kserve", None)  # the cluster's part
    return TrainedModel.model_validate(document)
