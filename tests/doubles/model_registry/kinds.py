"""The kinds of things that the registry keeps, and what may be said of each."""

from __future__ import annotations

from dataclasses import dataclass

_COMMON = ("externalId", "description", "customProperties")
_MODEL = ("owner", "state", "readme", "maturity", "language", "tasks", "provider", "logo", "license", "licenseLink")
_ARTIFACT = (
    *("uri", "state", "modelFormatName", "modelFormatVersion", "storageKey", "storagePath", "serviceAccountName"),
    *("modelSourceKind", "modelSourceClass", "modelSourceGroup", "modelSourceId", "modelSourceName"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind.

    :param path: of its collection. :param single: of the look-up by name. :param words: in messages.
    :param schema: name of its OpenAPI schema. :param fixed: fields that are set once, besides the name.
    :param changeable: fields that a PATCH may have. :param required: fields that a POST must have.
    :param default: the state that a POST and a PATCH without one set, with its field.
    :param parent: the field that names what it belongs to.
    """

    path: str
    single: str
    words: str
    schema: str
    changeable: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    default: tuple[str, str] | None = None
    parent: str = ""


MODEL = Kind(
    path="registered_models",
    single="registered_model",
    words="registered model",
    schema="RegisteredModel",
    changeable=(*_COMMON, *_MODEL, "libraryName"),
    required=("name",),
    default=("state", "LIVE"),
)
VERSION = Kind(
    path="model_versions",
    single="model_version",
    words="model version",
    schema="ModelVersion",
    changeable=(*_COMMON, "author", "state"),
    fixed=("registeredModelId",),
    required=("name", "registeredModelId"),
    default=("state", "LIVE"),
    parent="registeredModelId",
)
ENVIRONMENT = Kind(
    path="serving_environments",
    single="serving_environment",
    words="serving environment",
    schema="ServingEnvironment",
    changeable=_COMMON,
    required=("name",),
)
SERVICE = Kind(
    path="inference_services",
    single="inference_service",
    words="inference service",
    schema="InferenceService",
    changeable=(*_COMMON, "modelVersionId", "runtime", "desiredState"),
    fixed=("servingEnvironmentId", "registeredModelId"),
    required=("servingEnvironmentId", "registeredModelId"),
    default=("desiredState", "DEPLOYED"),
    parent="servingEnvironmentId",
)
ARTIFACT = Kind(
    path="model_artifacts",
    single="model_artifact",
    words="model artifact",
    schema="ModelArtifact",
    changeable=(*_COMMON, *_ARTIFACT, "artifactType"),
    parent="versionId",
)
KINDS = (MODEL, VERSION, ENVIRONMENT, SERVICE, ARTIFACT)
