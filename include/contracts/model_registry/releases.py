"""The record of a model's releases: what the registry is asked to enter and to look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.contracts.model_registry.calls import (
    CONFLICT,
    NOT_FOUND,
    Call,
    Document,
    Refused,
    RegistryRefusalError,
    Story,
)
from include.contracts.model_registry.services import follow
from include.contracts.model_registry.settling import settled
from include.contracts.model_registry.things import (
    MODELS,
    VERSIONS,
    find_model,
    find_version,
    listed,
    make_model,
    mark,
    marks_of,
    properties_of,
)
from include.contracts.registry_tags import (
    ARCHIVE_TAG,
    FACT_TAG_PREFIX,
    FORMAT_FACT,
    FORMAT_VERSION_FACT,
    LIVE_MARK,
    PIPELINE_RUN_FACT,
    PIPELINE_TRIGGER,
    PREVIOUS_MARK,
    STATE_TAG,
    TRIGGER_FACT,
    VERSION_TAG,
    ReleaseState,
    state_tags,
)

#: Name of a version's artifact: one without a name would be made anew with each try.
ARTIFACT = "package"
#: Of a package whose record says none, as records of version 0.1.0: there was no other.
_OLDEST_FORMAT, _OLDEST_FORMAT_VERSION = "pytorch", "1"
_AUTHOR = "airflow-model-releases"
_LEAVING_SERVICE = frozenset({ReleaseState.FAILED, ReleaseState.ROLLED_BACK, ReleaseState.REJECTED})
_NOT_YET_LIVE = frozenset({ReleaseState.REGISTERED, ReleaseState.CANDIDATE})
_MAY_BE_UNKNOWN = frozenset({ReleaseState.FAILED, ReleaseState.ROLLED_BACK})
_SCHEME_OF_THE_REGISTRY = "model-registry://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A release as the registry keeps it.

    :param model: its registered model. :param version: its model version.
    """

    model: Document
    version: Document

    @property
    def marks(self) -> dict[str, str]:
        """Name -> text of the version's marks."""
        return marks_of(self.version)

    @property
    def state(self) -> ReleaseState:
        """The state that is recorded."""
        return state_of(self.version)


def state_of(version: Document) -> ReleaseState:
    """Return the state of a model version; one that nobody knows is an older program's, or somebody's typing."""
    recorded = marks_of(version).get(STATE_TAG, ReleaseState.REGISTERED.value)
    try:
        return ReleaseState(recorded)
    except ValueError:
        raise RegistryRefusalError(
            f"Version {version.get('name')} is {recorded!r} in the registry ({STATE_TAG}), which is no state of a "
            f"release. Set one of {', '.join(ReleaseState)}."
        ) from None


def find_release(model: str, version: str) -> Story[Entry | None]:
    """Return the entry of a release; a version that no release made is none."""
    known = yield from find_model(model)
    found = None if known is None else (yield from find_version(str(known["id"]), version))
    if known is None or found is None or VERSION_TAG not in marks_of(found):
        return None
    return Entry(model=known, version=found)


def find_live(model: str) -> Story[Entry | None]:
    """Return the release that is live."""
    return (yield from _pointed(model, LIVE_MARK))


def find_previous(model: str) -> Story[Entry | None]:
    """Return the release that was live before."""
    return (yield from _pointed(model, PREVIOUS_MARK))


def list_releases(
    model: str, *, limit: int, state: ReleaseState | None = None, before: str | None = None
) -> Story[list[Entry]]:
    """Return the newest releases first.

    :param state: only those that are in this state now.
    :param before: only those that were registered before this version.
    :raises RegistryRefusalError: when ``before`` was never registered.
    """
    known = yield from find_model(model)
    last: int | None = None
    if before is not None:
        entry = None if known is None else (yield from find_version(str(known["id"]), before))
        if entry is None:
            raise RegistryRefusalError(f"{model} {before} was never registered, so nothing comes before it.")
        last = int(entry["id"])
    if known is None:
        return []
    conditions = [f"`{STATE_TAG}` = '{state.value}'"] if state else []
    conditions += [f"id < {last}"] if last is not None else []

    def is_wanted(version: Document) -> bool:
        marks = marks_of(version)
        fits = state is None or marks.get(STATE_TAG, ReleaseState.REGISTERED.value) == state.value
        return VERSION_TAG in marks and fits and (last is None or int(version["id"]) < last)

    path = f"{MODELS}/{known['id']}/versions"
    found = yield from listed(path, " AND ".join(conditions), wanted=limit, is_wanted=is_wanted)
    return [Entry(model=known, version=version) for version in found]


def list_made_by_pipelines(*, limit: int) -> Story[list[Entry]]:
    """Return the releases that pipelines made without Airflow, of every model, the newest first."""
    mark_of_it = f"{FACT_TAG_PREFIX}{TRIGGER_FACT}"

    def is_wanted(version: Document) -> bool:
        marks = marks_of(version)
        return VERSION_TAG in marks and marks.get(mark_of_it) == PIPELINE_TRIGGER

    condition = f"`{mark_of_it}` = '{PIPELINE_TRIGGER}'"
    found = yield from listed(VERSIONS, condition, wanted=limit, is_wanted=is_wanted)
    models: dict[str, Document | None] = {}
    for model_id in dict.fromkeys(str(version.get("registeredModelId")) for version in found):
        answer = yield Call(method="GET", path=f"{MODELS}/{model_id}", refusals=NOT_FOUND)
        models[model_id] = None if isinstance(answer, Refused) else answer  # a version can be made of no model
    pairs = ((models[str(version.get("registeredModelId"))], version) for version in found)
    return [Entry(model=model, version=version) for model, version in pairs if model is not None]


@settled
def register(
    model: str, version: str, *, archive_uri: str, facts: Mapping[str, str], state: ReleaseState, reason: str = ""
) -> Story[Entry]:
    """Make the version with its facts and its artifact, or bring the one that is there up to date. Safe to repeat.

    A version that has been live is no candidate again.

    :raises RegistryRefusalError: when it is there with another archive, or the archive's address is the registry's own.
    """
    if archive_uri.startswith(_SCHEME_OF_THE_REGISTRY):
        raise RegistryRefusalError(f"{archive_uri} says only where its address is recorded; give the storage's own.")
    known = yield from make_model(model)
    tags = {f"{FACT_TAG_PREFIX}{name}": value for name, value in facts.items()}
    identity = {VERSION_TAG: version, ARCHIVE_TAG: archive_uri}
    # With the state in the first request there is no half a registration; what is live the model says.
    first = {} if state is ReleaseState.LIVE else state_tags(state, reason)
    entry, is_new = yield from _make_version(known, version, {**identity, **tags, **first})
    recorded = marks_of(entry).get(ARCHIVE_TAG, archive_uri)
    if recorded != archive_uri:
        raise RegistryRefusalError(f"{model} {version} is registered already, with another archive: {recorded}.")
    if not is_new:
        entry = yield from mark(VERSIONS, entry, identity | tags)
    yield from _make_artifact(entry, archive_uri, facts)
    is_back = state_of(entry).has_been_live and state in _NOT_YET_LIVE
    if not is_back and not (is_new and first):
        entry = yield from _enter(known, entry, state, reason)
    return Entry(model=known, version=entry)


@settled
def set_state(model: str, version: str, state: ReleaseState, *, reason: str = "") -> Story[None]:
    """Record a new state with its reason and time. Safe to repeat.

    Going LIVE retires the version that was live before. A live version that fails, or is rolled back, hands back to
    the previous one.

    :raises RegistryRefusalError: when the version was never registered, unless it is FAILED or ROLLED_BACK.
    """
    entry = yield from find_release(model, version)
    if entry is not None:
        yield from _enter(entry.model, entry.version, state, reason)
    elif state not in _MAY_BE_UNKNOWN:
        raise RegistryRefusalError(f"{model} {version} cannot be {state.value}: it was never registered.")


@settled
def add_facts(model: str, version: str, facts: Mapping[str, str]) -> Story[None]:
    """Write more facts, over those of the same name; an empty one takes the fact away. Safe to repeat.

    :raises RegistryRefusalError: when the version was never registered.
    """
    entry = yield from find_release(model, version)
    if entry is None:
        raise RegistryRefusalError(f"{model} {version} cannot have more facts: it was never registered.")
    yield from mark(VERSIONS, entry.version, {f"{FACT_TAG_PREFIX}{name}": value for name, value in facts.items()})


@settled
def restore(model: str, version: str, *, archive_uri: str, marks: Mapping[str, str]) -> Story[None]:
    """Enter a release with the marks that another registry has of it, state and times included. Safe to repeat."""
    known = yield from make_model(model)
    entry, is_new = yield from _make_version(known, version, marks)
    if not is_new:
        entry = yield from mark(VERSIONS, entry, marks)
    facts = {name.removeprefix(FACT_TAG_PREFIX): value for name, value in marks.items()}
    yield from _make_artifact(entry, archive_uri, facts)


@settled
def point(model: str, *, live: str, previous: str) -> Story[None]:
    """Say which versions are live and were before, and nothing else; empty for none. Safe to repeat."""
    known = yield from make_model(model)
    yield from mark(MODELS, known, {LIVE_MARK: live, PREVIOUS_MARK: previous})


def _pointed(model: str, pointer: str) -> Story[Entry | None]:
    known = yield from find_model(model)
    version = "" if known is None else marks_of(known).get(pointer, "")
    found = None if known is None or not version else (yield from find_version(str(known["id"]), version))
    return None if known is None or found is None else Entry(model=known, version=found)


def _make_version(model: Document, version: str, marks: Mapping[str, str]) -> Story[tuple[Document, bool]]:
    """Return the model version, and whether it was made now."""
    model_id = str(model["id"])
    found = yield from find_version(model_id, version)
    if found is not None:
        return found, False
    body: dict[str, Any] = {"name": version, "registeredModelId": model_id, "author": _AUTHOR, "state": "LIVE"}
    body["customProperties"] = properties_of(marks)
    made = yield Call(method="POST", path=VERSIONS, body=body, refusals=CONFLICT)
    if not isinstance(made, Refused):
        return dict(made), True
    found = yield from find_version(model_id, version)
    if found is None:
        raise RegistryRefusalError(f"Version {version} cannot be made and is not there: {made.message}")
    return found, False


def _make_artifact(version: Document, uri: str, facts: Mapping[str, str]) -> Story[None]:
    """Make the version's one artifact: storage that reads the registry takes the newest, and none but a model."""
    query = {"name": ARTIFACT, "parentResourceId": str(version["id"])}
    found = yield Call(method="GET", path="/model_artifact", params=query, refusals=NOT_FOUND)
    if not isinstance(found, Refused):
        return
    body = {"artifactType": "model-artifact", "name": ARTIFACT, "uri": uri, "state": "LIVE"}
    if FORMAT_FACT in facts:
        form, form_version = facts[FORMAT_FACT], facts.get(FORMAT_VERSION_FACT, "")
    else:
        form, form_version = _OLDEST_FORMAT, _OLDEST_FORMAT_VERSION
    body |= {"modelFormatName": form} | ({"modelFormatVersion": form_version} if form_version else {})
    if run := facts.get(PIPELINE_RUN_FACT):
        body |= {"modelSourceKind": "kfp", "modelSourceClass": "pipelinerun"}
        body |= {"modelSourceId": run, "modelSourceName": run}
    yield Call(method="POST", path=f"{VERSIONS}/{version['id']}/artifacts", body=body, refusals=CONFLICT)


def _enter(model: Document, version: Document, state: ReleaseState, reason: str) -> Story[Document]:
    if state is ReleaseState.LIVE:
        return (yield from _go_live(model, version, reason))
    if state in _LEAVING_SERVICE:
        yield from _leave_service(model, version)
    # Last: whoever breaks off before it repeats all of it.
    return (yield from mark(VERSIONS, version, state_tags(state, reason)))


def _go_live(model: Document, version: Document, reason: str) -> Story[Document]:
    # In this order a repeat after a crash anywhere in between ends in the same record.
    name = str(version["name"])
    live = marks_of(model).get(LIVE_MARK, "")
    pointers = {LIVE_MARK: name} | ({PREVIOUS_MARK: live} if live not in ("", name) else {})
    yield from mark(MODELS, model, pointers)
    version = yield from mark(VERSIONS, version, state_tags(ReleaseState.LIVE, reason))
    others = yield from listed(
        f"{MODELS}/{model['id']}/versions",
        f"`{STATE_TAG}` = '{ReleaseState.LIVE.value}'",
        is_wanted=lambda other: _is_live(other) and other["name"] != name,
    )
    for other in others:
        yield from mark(VERSIONS, other, state_tags(ReleaseState.RETIRED, f"replaced by {name}"))
    yield from follow(model, version)
    return version


def _leave_service(model: Document, version: Document) -> Story[None]:
    name, pointers = str(version["name"]), marks_of(model)
    live, previous = pointers.get(LIVE_MARK, ""), pointers.get(PREVIOUS_MARK, "")
    if live == name:
        live = "" if previous == name else previous
        yield from mark(MODELS, model, {LIVE_MARK: live, PREVIOUS_MARK: ""})
    elif previous == name:
        yield from mark(MODELS, model, {PREVIOUS_MARK: ""})
    # Also where the model said so before: whoever wrote that may have broken off then.
    found = (yield from find_version(str(model["id"]), live)) if live else None
    if found is not None and not _is_live(found):
        yield from mark(VERSIONS, found, state_tags(ReleaseState.LIVE, f"put back after {name}"))
    yield from follow(model, found)


def _is_live(version: Document) -> bool:
    return marks_of(version).get(STATE_TAG) == ReleaseState.LIVE.value
