"""What an InferenceService remembers of its releases, in annotations and labels of its predictor.

They stand in the predictor, so that one change brings a version and the memory of it. They change with the version
only: KServe copies annotations to the pods (those of the InferenceService itself as well), so that any other change of
them would start all pods anew. How far a release has come is not written down but read from the traffic.

The names cross releases: an InferenceService whose names are not found belongs to somebody else, and is left alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import ModelVersion

Object = dict[str, Any]

_PREFIX = "kubeflow-provider"
VERSION_LABEL = f"{_PREFIX}/version"
MODEL_LABEL = f"{_PREFIX}/model"
ARCHIVE = f"{_PREFIX}/archive-sha256"
#: Of a given predictor: what users speak. Its requests and answers are passed on untouched.
PROTOCOL = f"{_PREFIX}/protocol"
#: Of such a predictor: the model's name in the paths of requests, where it is not the service's.
NAME_IN_PATHS = f"{_PREFIX}/name-in-paths"
MANAGED_BY = {"app.kubernetes.io/managed-by": "airflow-provider-kubeflow"}

_STABLE = f"{_PREFIX}/stable-version"
_PREVIOUS = f"{_PREFIX}/previous-version"
_REPLACES = f"{_PREFIX}/replaces-revision"
_SINCE = f"{_PREFIX}/since"

_STAMPS = (_STABLE, _PREVIOUS, _REPLACES, _SINCE)

#: Annotation by which a pipeline of version 0.1.0 marked what it had released; to go in the version after next.
_OLD_VERSION = "kubeflow-model-release/version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The release that an InferenceService is in the middle of, or at the end of.

    :param version: whose predictor stands in the spec.
    :param stable: who gets what the version does not get, while traffic is split; ``None`` for a first release.
    :param previous: whom to go back to.
    :param percent: the version's part of the traffic, ``None`` for all.
    :param replaces: revision that was the newest when this version came (Knative mode).
    :param since: when it came.
    """

    version: str
    stable: str | None = None
    previous: str | None = None
    percent: int | None = None
    replaces: str | None = None
    since: datetime | None = None

    @property
    def live(self) -> str:
        """The version that users reach, or will as soon as it is ready."""
        return self.version if self.percent is None else self.stable or self.version

    @classmethod
    def of(cls, service: Object) -> Record:
        """Read an InferenceService.

        :raises InvalidRequestError: when it is not one of ours.
        """
        predictor = service["spec"].get("predictor") or {}
        stamps = predictor.get("annotations") or {}
        version = released_version(service)
        if version is None:
            name, namespace = service["metadata"]["name"], service["metadata"].get("namespace")
            raise InvalidRequestError(
                f"InferenceService {name} in namespace {namespace} was not made by a release (it has no label "
                f"{VERSION_LABEL}), so it is left alone. Give the model another name, or delete the service."
            )
        percent = predictor.get("canaryTrafficPercent")
        since = stamps.get(_SINCE)
        return cls(
            version=version,
            stable=stamps.get(_STABLE),
            previous=stamps.get(_PREVIOUS),
            percent=None if percent == 100 else percent,
            replaces=stamps.get(_REPLACES),
            since=datetime.fromisoformat(since) if since else None,
        )


def released_version(service: Object) -> str | None:
    """Return the version that a release has put into an InferenceService; ``None`` when it was made otherwise."""
    predictor = service["spec"].get("predictor") or {}
    stamps = predictor.get("annotations") or {}
    return (predictor.get("labels") or {}).get(VERSION_LABEL) or stamps.get(_OLD_VERSION)


def given_protocol(service: Object | None) -> str | None:
    """Return what users of a given predictor speak; ``None`` for an archive of ours."""
    return _note(service, PROTOCOL)


def name_in_paths(service: Object | None) -> str | None:
    """Return the name that a given predictor has in the paths of requests; ``None`` for an archive of ours."""
    if service is None or given_protocol(service) is None:
        return None
    return _note(service, NAME_IN_PATHS) or str(service["metadata"]["name"])


def _note(service: Object | None, name: str) -> str | None:
    predictor = ((service or {}).get("spec") or {}).get("predictor") or {}
    return (predictor.get("annotations") or {}).get(name)


def check_archive(service: Object, candidate: ModelVersion) -> None:
    """Make sure that a version that is there already was made from the same archive.

    :raises InvalidRequestError: when it was made from another one.
    """
    served = (service["spec"]["predictor"].get("annotations") or {}).get(ARCHIVE)
    if served != candidate.archive_sha256:
        raise InvalidRequestError(
            f"{candidate.model} {candidate.version} is live with another archive (SHA-256 {served}). Start a new DAG "
            "run: a version is released once."
        )


def origin(version: ModelVersion) -> dict[str, str]:
    """Return the annotations that tell people where a version came from."""
    told = {f"{_PREFIX}/{name}": value for name, value in version.origin.items() if value}
    return {**told, f"{_PREFIX}/archive-uri": version.archive_uri, ARCHIVE: version.archive_sha256}


def unstamped(service: Object, *, model: str, version: str) -> Object:
    """Return the predictor of a service as its version was made, without the record of its coming."""
    spec = copy.deepcopy(service["spec"]["predictor"])
    spec.pop("canaryTrafficPercent", None)
    spec["labels"] = {**(spec.get("labels") or {}), VERSION_LABEL: version, MODEL_LABEL: model}
    told = spec.get("annotations") or {}
    spec["annotations"] = {key: value for key, value in told.items() if key not in (*_STAMPS, _OLD_VERSION)}
    return spec


def stamped(
    spec: Object, *, stable: str | None, previous: str | None, replaces: str | None, percent: int | None = None
) -> Object:
    """Return a predictor with the record of its coming; the parameters are as in :class:`Record`."""
    spec = copy.deepcopy(spec)
    stamps = {
        _STABLE: stable,
        _PREVIOUS: previous,
        _REPLACES: replaces,
        _SINCE: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    spec["annotations"] |= {key: value for key, value in stamps.items() if value}
    if percent is not None:
        spec["canaryTrafficPercent"] = percent
    return spec
