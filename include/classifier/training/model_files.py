"""Looks at what a base model brings before a library opens it: whoever names one need not have made it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: A library would load such a folder and leave the adapter out.
ADAPTER = "adapter_config.json"

_CONFIG = "config.json"
_LARGEST_CONFIG_BYTES = 20_000_000
_LARGEST_INDEX_BYTES = 50_000_000
#: The deepest models have a few hundred. A model is made layer by layer, before any weight is read.
_MOST_LAYERS = 1000


class ModelFilesError(ValueError):
    """A base model's files are not opened; the message says which, why, and what to do."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that would be read otherwise than it looks, or lead out of itself.

    :raises ModelFilesError: naming the file.
    """
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists():
            raise ModelFilesError(f"{path.name} is a link to nothing: copy the model whole")
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ModelFilesError(f"{path.name} is no plain file")
    if (folder / ADAPTER).exists():
        raise ModelFilesError(
            f"{ADAPTER} says that it is an adapter, which is not applied here: merge it into its base model "
            "(merge_and_unload of PEFT), and name the folder of the result"
        )
    if (folder / _CONFIG).is_file():
        _json(folder / _CONFIG, _LARGEST_CONFIG_BYTES)
    for index in sorted(folder.glob("*.index.json")):
        document = _json(index, _LARGEST_INDEX_BYTES)
        files = document.get("weight_map")
        if not isinstance(files, dict):
            raise ModelFilesError(f"{index.name} has no weight_map")
        for name in sorted({str(name) for name in files.values()}):
            if Path(name).name != name or not (folder / name).is_file():
                raise ModelFilesError(f"{index.name} names weights that do not lie beside it: copy the model whole")


def check_size(config: Any) -> None:
    """Refuse a model that this machine could not hold.

    :param config: a configuration of Transformers.
    :raises ModelFilesError: with what it needs and what there is.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    _check_layers(config.to_dict())
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    needed = 4 * sum(parameter.numel() for parameter in model.parameters())
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ModelFilesError(
            f"{_CONFIG} asks for {needed / 1e9:.0f} GB of weights, and this machine has {there / 1e9:.0f} GB of "
            "memory: choose a smaller model"
        )


def _check_layers(config: Mapping[Any, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, Mapping):
            _check_layers(value)
        elif "layer" in str(key) and isinstance(value, int) and value > _MOST_LAYERS:
            raise ModelFilesError(f"{_CONFIG} asks for {value} layers ({key}), and {_MOST_LAYERS} is more than any has")


def _json(path: Path, most_bytes: int) -> dict[str, Any]:
    if path.stat().st_size > most_bytes:
        raise ModelFilesError(f"{path.name} has more than {most_bytes // 1_000_000} MB")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelFilesError(f"{path.name} is nested deeper than any is") from None
    except ValueError:
        raise ModelFilesError(f"{path.name} is no JSON") from None
    if not isinstance(document, dict):
        raise ModelFilesError(f"{path.name} is no object")
    return document
