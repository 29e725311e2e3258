"""How releases lie in MLflow's registry: model versions with tags, and aliases of a registered model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from include.contracts.registry_tags import LIVE_ALIAS, STATE_TAG, VERSION_TAG, ReleaseState, state_tags
from kubeflow_provider.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PAGE_SIZE = 100
#: MLflow's words for a model, and for an alias, that it does not have.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def entries_of(
    client: MlflowClient, model: str, condition: str = "", wanted: int = _PAGE_SIZE
) -> Iterator[ModelVersion]:
    """Yield the model's releases, newest first. Versions that were not made by a release do not count.

    :param wanted: so many will be taken; a page is not made larger than that, because every entry costs.
    """
    if "'" in model:
        raise InvalidRequestError(f"{model!r} is no name of a model: it contains a quotation mark.")
    token: str | None = None
    while True:
        page = client.search_model_versions(
            f"name = '{model}'{condition}",
            max_results=max(1, min(_PAGE_SIZE, wanted)),
            order_by=["version_number DESC"],
            page_token=token,
        )
        yield from (entry for entry in page if VERSION_TAG in entry.tags)
        token = page.token
        if not token:
            return


def newest_entries(
    client: MlflowClient, model: str, *, wanted: int, condition: str = "", below: int | None = None
) -> list[ModelVersion]:
    """Return the model's newest releases, at most so many.

    MLflow sorts all versions of a model to find the newest of them, unless it is told between which numbers they are.
    So it is first asked for those about the live one, or the one that they are to be older than, which its key finds.

    :param condition: on their tags.
    :param below: only versions with a smaller number.
    """
    older = "" if below is None else f" and version_number < {below}"
    last = below if below is not None else live_number(client, model) if not condition else None
    if last is not None and not condition:
        first = last - 2 * wanted
        near = entries_of(client, model, f"{older} and version_number > {first}", wanted)
        if len(found := list(islice(near, wanted))) == wanted or first <= 0:
            return found
    return list(islice(entries_of(client, model, older + condition, wanted), wanted))


def live_number(client: MlflowClient, model: str) -> int | None:
    """Return MLflow's number of the live release."""
    entry = pointed(client, model, LIVE_ALIAS)
    return None if entry is None else int(entry.version)


def aliases_of(client: MlflowClient, model: str) -> dict[str, str]:
    """Return alias -> MLflow's version number as text; empty for an unknown model."""
    found = client.search_registered_models(f"name = '{model}'", max_results=1)
    return {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}


def pointed(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    """Return the release that an alias points to; ``None`` for an alias or a model that is not there.

    One look-up by keys, however many versions the model has; searching for the model reads all of them.
    """
    from mlflow.exceptions import MlflowException

    try:
        entry = client.get_model_version_by_alias(model, alias)
        if VERSION_TAG in entry.tags:
            return entry
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise
    # The error stands for a model without the alias, for none at all, and for a server that knows nothing of aliases.
    number = aliases_of(client, model).get(alias)
    return None if number is None else client.get_model_version(model, number)


def number_of(entry: ModelVersion) -> str:
    """Return MLflow's version number as aliases have it: a store gives an int, a server a text."""
    return str(entry.version)


def state_of(entry: ModelVersion) -> ReleaseState:
    """Return the state that is recorded."""
    # The state is written last; a registration that broke off before it is a registration all the same.
    return ReleaseState(entry.tags.get(STATE_TAG, ReleaseState.REGISTERED.value))


def tag_state(client: MlflowClient, entry: ModelVersion, state: ReleaseState, reason: str) -> None:
    """Record that a release enters a state now."""
    for name, value in state_tags(state, reason).items():
        set_tag(client, entry.name, entry.version, name, value)


def set_tag(client: MlflowClient, model: str, number: str, name: str, value: str) -> None:
    """Set a tag, also when somebody else sets it for the first time at the same moment."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_model_version_tag(model, number, name, value)
    except MlflowException as error:
        # MLflow looks for the tag and then inserts it; where another was faster, it is there now and is updated.
        if "IntegrityError" not in str(error) and "UNIQUE constraint" not in str(error):
            raise
        client.set_model_version_tag(model, number, name, value)
