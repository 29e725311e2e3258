"""As much of MLflow's client as the registry of the releases uses, kept in a table."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any


class Page(list[Any]):
    """A page of results; there is never another one."""

    token = None


class Mlflow:
    """The registry of one server. What is returned is what was there then, as from a server.

    :param changing: called before and after each change, with its name.
    """

    def __init__(self, changing: Callable[[str], None] = lambda change: None) -> None:
        self._changing = changing
        self._aliases: dict[str, dict[str, str]] = {}
        self._versions: dict[str, dict[str, SimpleNamespace]] = {}

    def save(self) -> tuple[Any, Any]:
        """Return what is in the tables."""
        return deepcopy((self._aliases, self._versions))

    def restore(self, saved: tuple[Any, Any]) -> None:
        """Put back what :meth:`save` returned."""
        self._aliases, self._versions = deepcopy(saved)

    def search_registered_models(self, filter_string: str = "", **_: Any) -> list[Any]:
        if not filter_string:
            return [SimpleNamespace(aliases=dict(aliases)) for aliases in self._aliases.values()]
        (name,) = re.findall(r"name = '([^']+)'", filter_string)
        return [SimpleNamespace(aliases=dict(self._aliases[name]))] if name in self._aliases else []

    def search_model_versions(self, filter_string: str, **_: Any) -> Page:
        (name,) = re.findall(r"name = '([^']+)'", filter_string)
        wanted = dict(re.findall(r"tags\.`([^`]+)` = '([^']*)'", filter_string))
        found = [entry for entry in self._versions.get(name, {}).values() if wanted.items() <= entry.tags.items()]
        return Page(deepcopy(sorted(found, key=lambda entry: -int(entry.version))))

    def get_model_version(self, name: str, number: str) -> Any:
        return deepcopy(self._versions[name][number])

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        number = self._aliases.get(name, {}).get(alias)
        if number is None:
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

            raise MlflowException("there is no such alias", error_code=INVALID_PARAMETER_VALUE)
        return self.get_model_version(name, number)

    def create_registered_model(self, name: str) -> None:
        self._changing("name the model")
        self._aliases[name], self._versions[name] = {}, {}
        self._changing("model named")

    def create_model_version(self, name: str, source: str, *, tags: dict[str, str], **_: Any) -> Any:
        self._changing("enter the version")
        number = str(len(self._versions[name]) + 1)
        self._versions[name][number] = SimpleNamespace(name=name, version=number, tags=dict(tags))
        self._changing("version entered")
        return self.get_model_version(name, number)

    def set_model_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        self._changing(f"tag {key}")
        self._versions[name][number].tags[key] = value

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self._changing(f"move {alias}")
        self._aliases[name][alias] = number

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._changing(f"remove {alias}")
        self._aliases[name].pop(alias, None)
