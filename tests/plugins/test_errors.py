"""Errors travel between processes, and are copied on their way."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import ServiceUnavailableError

ROOT = Path(__file__).parents[2]
PACKAGES = ("plugins/kubeflow_provider", "plugins/local_services", "plugins/model_releases", "include/contracts")


def errors_of(package: str) -> Iterator[Exception]:
    """Yield one error of each class that a package defines; every argument without a default is text.

    Only the modules that define one are imported: all of them would take seconds.
    """
    for path in sorted((ROOT / package).rglob("*.py")):
        classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
        names = [node.name for node in classes if any("Error" in ast.unparse(base) for base in node.bases)]
        if names:
            place = path.relative_to(ROOT).with_suffix("").parts
            module = import_module(".".join(place).removeprefix("plugins."))
            yield from (made(getattr(module, name)) for name in names)


def made(error: type[Exception]) -> Exception:
    _, *parameters = inspect.signature(error.__init__).parameters.values()
    wanted = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    named = {one.name: one.name for one in wanted if one.kind is one.KEYWORD_ONLY}
    return error(*(one.name for one in wanted if one.name not in named), **named)


def again(error: Exception) -> list[Exception]:
    return [pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_can_be_pickled_and_copied(package: str) -> None:
    errors = list(errors_of(package))

    assert errors
    for error in errors:
        for copied in again(error):
            assert type(copied) is type(error)
            assert (copied.args, str(copied), vars(copied)) == (error.args, str(error), vars(error))


def test_what_an_error_knows_besides_its_message_comes_along() -> None:
    error = ServiceUnavailableError("down", http_status=503, was_sent=False, retry_after_seconds=2)

    assert [vars(copied) for copied in again(error)] == [vars(error)] * 3
