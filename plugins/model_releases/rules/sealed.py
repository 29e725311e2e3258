"""Versions whose files or record nobody may change any more: a cleared task of their run is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_releases.exceptions import VersionSealedError
from model_releases.memory.evidence import judged
from model_releases.rules.replaceable import has_been_live, refuse_pinned

if TYPE_CHECKING:
    from model_releases.registry.service import RegistryService


def refuse_judged(context: Mapping[str, Any], model: str, version: str, registry: RegistryService) -> None:
    """Make sure that a version's files may still be written.

    :raises VersionSealedError: when the gate has judged them, or the registry knows the version.
    """
    if judged(context) is not None or registry.get_release(model, version) is not None:
        raise _sealed(f"The files of {model} {version} have been judged")


def refuse_released(model: str, version: str, registry: RegistryService) -> None:
    """Make sure that a version is still on its way to users.

    :raises ReleaseRefusedError: when a person has taken it back.
    :raises VersionSealedError: when users have had it.
    """
    refuse_pinned(model, version, registry)
    release = registry.get_release(model, version)
    if release is not None and has_been_live(release):
        raise _sealed(f"{model} {version} is {release.state.value}: it has been released once")


def _sealed(what: str) -> VersionSealedError:
    return VersionSealedError(
        f"{what}, and nothing of it changes any more; nothing was written and nothing rolled back. Trigger the DAG "
        "again instead of clearing its tasks: a new release gets a version of its own."
    )
