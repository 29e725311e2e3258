"""A search for better settings in this terminal, and the release with what it has found."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from terminal_dags import run_dag

from include.contracts.documents import DocumentError
from include.contracts.form import SEARCH_FIELDS, read_field
from include.contracts.search.document import SEARCH_FOLDER, SearchDocument
from include.contracts.search.settings import SearchConfig
from include.contracts.version.numbers import version_of
from model_releases import ids


def search(model: str, env: Mapping[str, str]) -> None:
    """Search, and release where ``RELEASE=1`` asks for it.

    :param env: environment of the DAGs.
    :raises SystemExit: when a variable cannot be read, or a DAG does not succeed.
    """
    search_id = os.environ.get("SEARCH") or version_of(datetime.now(UTC))
    conf = _fields(os.environ) | {"search": search_id, "release": False}
    run_dag(env, ids.search_dag(model), conf, f"search of {model}")
    form = _found(model, search_id).form
    if not form:
        print("The present settings are the best that were tried: there is nothing to release.")
    elif os.environ.get("RELEASE") == "1":
        run_dag(env, ids.release_dag(model), form, f"release of {model}")
    else:
        variables = " ".join(f"{name.upper()}={value!r}" for name, value in form.items())
        print(f"To release with these settings: make release MODEL={model} {variables}")


def _fields(given: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name in SEARCH_FIELDS:
        text = given.get(name.upper(), "")
        if text and name != "release":
            try:
                values[name] = read_field(SearchConfig, name, text)
            except ValidationError:
                sys.exit(f"{name.upper()}={text!r} is not valid for the setting search.{name}.")
    return values


def _found(model: str, search_id: str) -> SearchDocument:
    from kubeflow_provider.exceptions import KubeflowProviderError
    from model_releases.config import read_model_configs
    from model_releases.memory.candidate import read_text

    (config,) = [config for config in read_model_configs() if config.name == model]
    uri = f"{config.store_uri}/{SEARCH_FOLDER}/{search_id}/{SearchDocument.file}"
    try:
        return SearchDocument.parse(read_text(uri, conn_id=config.store_conn_id), where=uri)
    except (DocumentError, KubeflowProviderError) as error:
        sys.exit(str(error))
