"""Whether the cluster has a runtime for a version, in the words of who can make one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.kubernetes.given_predictor import GivenPredictor
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings

Object = dict[str, Any]


def refuse_without_runtime(api: ClusterApi, settings: Mapping[str, Any]) -> None:
    """Make sure that there is a runtime for a version; a container of one's own needs none.

    Where the runtimes of the whole cluster must not be read, one that is not of the namespace is taken to be there.

    :param settings: of the version.
    :raises InvalidRequestError: naming those that there are.
    """
    given = GivenPredictor.of(settings)
    if given is None:
        _refuse_unknown(api, PredictorSettings.of(settings).runtime, setting="serving.kserve.runtime")
    elif given.runtime is not None:
        spec = _refuse_unknown(api, given.runtime, setting="predictor.runtime")
        if spec is not None and (problem := next(_problems(spec, given, is_named=True), None)):
            raise InvalidRequestError(
                f"ServingRuntime {given.runtime} {problem}. Name another one in `predictor.runtime`, or change its "
                "`supportedModelFormats`."
            )
    elif given.format is not None:
        _refuse_without_one_that_fits(api, given)


def _refuse_unknown(api: ClusterApi, runtime: str, *, setting: str) -> Object | None:
    """Return the specification of a runtime, ``None`` where it cannot be read."""
    known = api.runtimes()
    elsewhere = api.cluster_runtimes() if runtime not in known else {}
    if elsewhere is not None and runtime not in (*known, *elsewhere):
        raise InvalidRequestError(
            f"There is no ServingRuntime {runtime} for namespace {api.namespace}, only "
            f"{', '.join(known) or 'none at all'}. Make it, or name another one in `{setting}`."
        )
    return {**(elsewhere or {}), **known}.get(runtime)


def _refuse_without_one_that_fits(api: ClusterApi, given: GivenPredictor) -> None:
    elsewhere = api.cluster_runtimes()
    if elsewhere is None:
        return
    known = {**elsewhere, **api.runtimes()}
    if not any(next(_problems(spec, given, is_named=False), None) is None for spec in known.values()):
        raise InvalidRequestError(
            f"No ServingRuntime of the cluster takes format {given.format} with protocol {given.protocol} by itself; "
            f"there are {', '.join(sorted(known)) or 'none at all'}. Name one in `predictor.runtime`, make one, or "
            "serve the model with a `predictor.container`."
        )


def _problems(spec: Object, given: GivenPredictor, *, is_named: bool) -> Iterator[str]:
    """Yield why KServe would not serve a predictor with a runtime."""
    formats = [item for item in spec.get("supportedModelFormats") or [] if item.get("name") == given.format]
    if spec.get("disabled"):
        yield "is disabled"
    if not formats:
        yield f"does not say that it serves format {given.format}"
    if given.protocol not in (spec.get("protocolVersions") or ["v1"]):
        yield f"does not say that it speaks protocol {given.protocol}"
    if not is_named and not any(item.get("autoSelect") for item in formats):
        yield "is taken only where it is named"
