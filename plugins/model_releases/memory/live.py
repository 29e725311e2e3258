"""Which version is live: the serving system is the truth, and where it has lost that, the registry is."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.contracts.registry_tags import PREDICTOR_FACT, SERVING_RUNTIME_FACT
from include.contracts.settings import ServingConfig
from include.contracts.version.runtimes import UNNAMED_RUNTIME, served_on
from kubeflow_provider.exceptions import LiveVersionUnknownError
from kubeflow_provider.services import Deployment, ForgetfulService, ModelVersion

if TYPE_CHECKING:
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService

log = logging.getLogger(__name__)


def find_live(
    serving: ServingService, registry: RegistryService, model: str, *, settings: Mapping[str, Any] | None = None
) -> Deployment | None:
    """Return the version that users reach; one that the serving system has lost is put back first.

    :param settings: ``serving`` section of the model's YAML, where the caller knows it.
    :raises KubeflowProviderError: when it cannot be put back, or one of them cannot be asked.
    """
    try:
        return serving.get_live(model)
    except LiveVersionUnknownError as error:
        if not isinstance(serving, ForgetfulService):
            raise
        recorded = registry.get_live(model)
        log.warning("%s The registry says: %s.", error, recorded.version if recorded else "nothing was live")
    version = None
    if recorded is not None:
        version = ModelVersion(
            model=model,
            version=recorded.version,
            archive_uri=recorded.archive_uri,
            archive_sha256=recorded.facts.get("archive_sha256", ""),
            settings=_served_with(settings or ServingConfig().model_dump(), recorded.facts),
        )
    serving.restore_live(model, version)
    return serving.get_live(model)


def _served_with(settings: Mapping[str, Any], facts: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the settings with what is recorded of the version: its format and protocol, or its runtime."""
    try:
        predictor = json.loads(facts.get(PREDICTOR_FACT) or "{}")
    except ValueError:  # somebody has written into the record
        return settings
    if not predictor or not isinstance(predictor, dict):
        return served_on(settings, facts.get(SERVING_RUNTIME_FACT, UNNAMED_RUNTIME))
    asked = {name: value for name, value in settings.get("predictor", {}).items() if name == "protocol"}
    return {**settings, "predictor": {**asked, **predictor}}
