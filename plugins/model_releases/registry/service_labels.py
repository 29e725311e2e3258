"""The labels by which a registry's own controller knows the InferenceService of a model, for whoever asks for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from kubeflow_provider.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import LabellingRegistry, RegistryService

log = logging.getLogger(__name__)

#: As it stands in a model's YAML.
SETTING = "serving.kserve.registry_labels"


def are_wanted(settings: Mapping[str, Any], serving: ServingService) -> bool:
    """Say whether the model's service is to have them; a serving system without Kubernetes has no labels.

    :param settings: ``serving`` section of the model's YAML.
    """
    return bool((settings.get("kserve") or {}).get("registry_labels")) and bool(_namespace(serving))


def labelling(registry: RegistryService) -> LabellingRegistry:
    """Return the registry as one that has labels.

    :raises InvalidRequestError: when it has none.
    """
    if not hasattr(registry, "service_labels"):
        raise InvalidRequestError(
            f"{SETTING} is on, and only Kubeflow's Model Registry knows InferenceServices by labels. Take the setting "
            "out of the model's YAML, or let `connections: {registry: …}` name a connection of that type."
        )
    return cast("LabellingRegistry", registry)


def service_labels(
    settings: Mapping[str, Any], model: str, *, serving: ServingService, registry: RegistryService, is_live: bool
) -> dict[str, str]:
    """Return the labels that the service of a model is to be made with, if it has to be made.

    :param settings: ``serving`` section of the model's YAML.
    :param is_live: the service is there already.
    :raises InvalidRequestError: when they are asked for and the registry has none.
    """
    if not are_wanted(settings, serving):
        return {}
    labels = labelling(registry).service_labels(model, environment=_namespace(serving), may_make=not is_live)
    if is_live and not labels:
        log.info(
            "%s: %s is on and changes nothing: its InferenceService is there already, without labels of the registry, "
            "and a label on a live service starts its pods anew. Only a service that is made has them.",
            model,
            SETTING,
        )
    return dict(labels)


def _namespace(serving: ServingService) -> str:
    return str(getattr(serving, "namespace", ""))
