"""Releases that a person has taken back: no task of an old DAG run may quietly put them in front of users again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from include.contracts.registry_tags import ReleaseState
from include.contracts.rules.outdated import outdated_by
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory.release_record import make_record

if TYPE_CHECKING:
    from include.contracts.candidate import Candidate
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService, Release

# Facts of the registry. The pin is made of the first: renaming it sets every pinned release free.
ROLLED_BACK_BY = "rolled_back_by"
ROLLED_BACK_REASON = "rolled_back_reason"
ROLLED_BACK_TO = "rolled_back_to"
PUT_BACK_BY = "put_back_by"
PUT_BACK_REASON = "put_back_reason"

#: Fact of a release that was made as a pinned one was: its version.
TWIN_OF = "twin_of"

#: Two releases with the same of these were made in the same way from the same data.
_WHAT_MADE_IT = ("dataset_sha256", "base_model", "base_model_revision", "training_parameters", "code_revision")
_HORIZON = 100


def has_been_live(release: Release) -> bool:
    """Return whether users have ever had the release."""
    return release.state.has_been_live or ReleaseState.LIVE in release.times


def is_pinned(release: Release) -> bool:
    """Return whether a person has taken the release back, and nobody has put it back on purpose since."""
    if not release.facts.get(ROLLED_BACK_BY) or release.state in (ReleaseState.LIVE, ReleaseState.RETIRED):
        return False
    if release.state is ReleaseState.ROLLED_BACK:
        return True
    # A cleared task has written another state over it; the times of both are still there.
    return release.times.get(ReleaseState.ROLLED_BACK, "") >= release.times.get(ReleaseState.LIVE, "")


def describe_pin(release: Release) -> str:
    """Return who took a pinned release back, when, and why, as the end of a sentence."""
    facts = release.facts
    when = release.times.get(ReleaseState.ROLLED_BACK)
    words = (
        f"rolled back by {facts[ROLLED_BACK_BY]}",
        f"at {when}" if when else "",
        f"to {facts[ROLLED_BACK_TO]}" if facts.get(ROLLED_BACK_TO) else "",
    )
    return f"{' '.join(word for word in words if word)}: {facts.get(ROLLED_BACK_REASON) or 'no reason given'}"


def rolled_back_twin(candidate: Candidate, registry: RegistryService) -> Release | None:
    """Return the newest pinned release that was made exactly as the candidate was, ``None`` when there is none.

    The same data, base model, parameters and code make the same model again: whoever judges the candidate should
    know that somebody has taken it back once.
    """
    made_from = _what_made(make_record(candidate, state=ReleaseState.CANDIDATE).facts)
    for release in registry.list_releases(candidate.model, limit=_HORIZON):
        if release.version != candidate.version and is_pinned(release) and _what_made(release.facts) == made_from:
            return release
    return None


def refuse_pinned(model: str, version: str, registry: RegistryService) -> None:
    """Make sure that no person has taken the version back.

    :raises ReleaseRefusedError: saying who did, when and why, and how to put it back on purpose.
    """
    release = registry.get_release(model, version)
    if release is not None and is_pinned(release):
        raise ReleaseRefusedError(
            f"{model} {version} was {describe_pin(release)}. It does not come back by clearing a task. To put it back "
            f"on purpose, trigger the DAG roll_back with version {version}, or `make roll-back VERSION={version}`."
        )


def refuse_outdated(
    candidate: Candidate, serving: ServingService, *, compared_with: str, taken_over: bool = False
) -> None:
    """Make sure that what users reach now is what the candidate was compared with, the candidate itself, or nothing.

    :param compared_with: version that was live when the release began, empty when none was.
    :param taken_over: the candidate was compared in another installation: only ``compared_with`` counts.
    :raises ReleaseRefusedError: naming both versions.
    """
    live = serving.get_live(candidate.model)
    if taken_over:
        if live is not None and live.version not in (candidate.version, compared_with):
            raise ReleaseRefusedError(
                f"{candidate.model} {candidate.version} was to replace {compared_with or 'nothing'}, but "
                f"{live.version} is live now: somebody has changed it since. Trigger the DAG again, if that is still "
                "wanted."
            )
        return
    version = outdated_by(candidate, live_version=live.version if live else None, live_at_start=compared_with)
    if version is None:
        return
    expected = candidate.compared_version or compared_with or "nothing, as a first release"
    raise ReleaseRefusedError(
        f"{candidate.model} {candidate.version} was compared with {expected}, but {version} is live now: somebody has "
        "changed it since. Start a new release, which is compared with that."
    )


def _what_made(facts: Mapping[str, str]) -> tuple[str, ...]:
    # Where nobody knows the data, only the same bytes are the same model.
    names = _WHAT_MADE_IT if facts.get("dataset_sha256") else ("archive_sha256",)
    return tuple(str(facts.get(name, "")) for name in names)
