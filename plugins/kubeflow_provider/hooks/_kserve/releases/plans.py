"""How a version will be served: its predictor and its mode, from its settings, the model's service and the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.capabilities import Capabilities
from kubeflow_provider.hooks._kserve.modes import Mode, mode_annotation, mode_of
from kubeflow_provider.hooks._kserve.record import stamped
from kubeflow_provider.hooks._kserve.releases import specs
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from kubeflow_provider.services import ModelVersion

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one version will be served.

    :param predictor: as it is kept for the version.
    :param annotations: that give a service of its own its mode.
    :param present_mode: of the model's service; ``None`` before the first release.
    """

    model: str
    predictor: Object
    annotations: dict[str, str]
    present_mode: Mode | None

    @classmethod
    def of(cls, candidate: ModelVersion, public: Object | None, capabilities: Capabilities) -> Plan:
        """Make it.

        :param public: the model's service, which stays in its mode.
        :raises InvalidRequestError: naming what is wrong with name, settings, mode or the archive's place.
        """
        specs.check_name(candidate.model)
        settings = PredictorSettings.of(candidate.settings)
        wanted = _wanted_mode(public, settings, section=specs.section_of(candidate))
        predictor = specs.predictor(candidate, settings, mode=wanted or capabilities.default_mode)
        if public and capabilities.default_mode is None:
            annotations = mode_annotation(public)  # a candidate is served as what it is to replace
        else:
            annotations = capabilities.mode_annotations(wanted)
        present = mode_of(public) if public else None
        return cls(model=candidate.model, predictor=predictor, annotations=annotations, present_mode=present)

    def candidate_service(self, namespace: str) -> Object:
        """Return the InferenceService that the version has of its own while it has no users."""
        return self._service(namespace, specs.as_candidate(self.predictor))

    def trials(self, namespace: str) -> list[Object]:
        """Return what KServe will be given, with and without users, under a name that is free."""
        for_users = self._service(namespace, specs.for_users(self.predictor, self.present_mode))
        return [self.candidate_service(namespace), for_users]

    def _service(self, namespace: str, predictor: Object) -> Object:
        spec = stamped(predictor, stable=None, previous=None, replaces=None)
        name = specs.candidate_name(self.model)
        return specs.inference_service(name, namespace, spec, annotations=self.annotations)


def _wanted_mode(public: Object | None, settings: PredictorSettings, *, section: str) -> Mode | None:
    asked = None if settings.deployment_mode == "detect" else Mode(settings.deployment_mode.capitalize())
    present = mode_of(public) if public else None
    if present and asked and present is not asked:
        raise InvalidRequestError(
            f"InferenceService {public['metadata']['name'] if public else ''} is in {present} mode and stays in it: "
            f"KServe refuses to change it. Take `{section}.deployment_mode: {settings.deployment_mode}` back, or "
            "release the model under another name."
        )
    return present or asked
