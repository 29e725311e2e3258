"""One YAML file for each model that is released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from include.contracts.settings import TrainedModel

MODELS_DIR = Path(__file__).parent
PROJECT_DIR = MODELS_DIR.parents[1]

#: Where labels stand: to YAML 1.1 ``no`` is false, ``1.10`` is 1.1, ``12:30`` is 750 and ``010`` is 8.
_LABELS = (("data", "labels"), ("gate", "min_class_f1"))
_TEXT = "tag:yaml.org,2002:str"
#: libyaml's, where PyYAML was built with it: a tenth of the time, and DAG files read every model at every parse.
_Quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_model(text: str) -> Any:
    """Return what a model's YAML says, with labels as the text that was written.

    :raises yaml.YAMLError: when it is not YAML.
    """
    try:
        return _parsed(text, _Quick)
    except yaml.YAMLError:
        return _parsed(text, yaml.SafeLoader)  # which says in more words what is wrong


def _parsed(text: str, loader_class: Any) -> Any:
    loader = loader_class(text)
    try:
        root = loader.get_single_node()
        for section, setting in _LABELS:
            for node in _labels_in(_value(_value(root, section), setting), names_too=section == "data"):
                node.tag = _TEXT
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def read_trained_model(name: str) -> TrainedModel:
    """Return what the pipelines go by of a model in this folder; ``model_releases.config`` reads all of it.

    :param name: of the file, without ``.yaml``.
    :raises pydantic.ValidationError: naming every setting that is wrong.
    """
    document = parse_model((MODELS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    document.get("serving", {}).pop("kserve", None)  # the cluster's part
    return TrainedModel.model_validate(document)


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _labels_in(node: yaml.Node | None, *, names_too: bool) -> list[yaml.ScalarNode]:
    """Return the labels of a list or of the keys of a mapping; and their names. One that is empty stays nothing."""
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for key, value in node.value for part in ((key, value) if names_too else (key,))]
    return [part for part in parts if isinstance(part, yaml.ScalarNode) and part.value]
