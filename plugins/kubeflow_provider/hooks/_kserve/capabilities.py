"""What the KServe of a cluster can do: read from its CRD and its configuration, not assumed from a version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.modes import ANNOTATION, Mode, read_mode

#: The first with the names Knative and Standard.
_NEW_NAMES = (0, 16, 0)

#: Refuses its own new name on a service that it sees for the first time (kserve#5793, mended in 0.19.1).
_REFUSES_KNATIVE = (0, 19, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The KServe of one cluster.

    :param version: ``None`` where its configuration must not be read.
    :param default_mode: what a service without the annotation becomes; ``None`` where it is not known.
    :param gateway_api: whether routes are made with the Gateway API; ``None`` where it is not known.
    :param schema: of an InferenceService; empty where the CRD must not be read.
    """

    version: tuple[int, ...] | None = None
    default_mode: Mode | None = None
    gateway_api: bool | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)

    def knows(self, path: str) -> bool:
        """Return whether an InferenceService has a field, for example ``spec.predictor.storageUris``."""
        part = self.schema
        for name in path.split("."):
            part = part.get("properties") or part.get("items", {}).get("properties") or {}
            if name not in part:
                return False
            part = part[name]
        return True

    def mode_annotations(self, wanted: Mode | None) -> dict[str, str]:
        """Return the annotation that gives a new service its mode; none where the cluster's default does.

        :raises InvalidRequestError: where this KServe has no way to be told.
        """
        if wanted is None or wanted is self.default_mode:
            return {}
        if self.version == _REFUSES_KNATIVE and wanted is Mode.KNATIVE:
            raise InvalidRequestError(
                "KServe 0.19.0 refuses a new InferenceService in Knative mode unless that is the cluster's default "
                "(kserve#5793). Update KServe to 0.19.1 or later, or leave `serving.kserve.deployment_mode` out."
            )
        if self.version is None and not self.knows("spec.canary"):
            raise InvalidRequestError(
                f"`serving.kserve.deployment_mode: {wanted.lower()}`: how this KServe calls it cannot be found out, "
                "because its ConfigMap inferenceservice-config must not be read. Allow that "
                "(docs/operators/inference-services.md#rights), or leave the setting out to take the cluster's default."
            )
        is_new = self.version is None or self.version >= _NEW_NAMES
        return {ANNOTATION: wanted.value if is_new else wanted.old_name}

    def __str__(self) -> str:
        version = ".".join(map(str, self.version)) if self.version else "of an unknown version"
        return f"KServe {version}, {self.default_mode or 'unknown'} mode by default"


def read_capabilities(definition: Mapping[str, Any] | None, config: Mapping[str, Any] | None) -> Capabilities:
    """Read what KServe can do.

    :param definition: CustomResourceDefinition of InferenceServices; ``None`` where it must not be read.
    :param config: ConfigMap ``inferenceservice-config``; ``None`` where it must not be read.
    """
    data = (config or {}).get("data") or {}
    image = str(_section(data, "storageInitializer").get("image", ""))
    gateway_api = _section(data, "ingress").get("enableGatewayApi")
    return Capabilities(
        version=_version(image),
        default_mode=read_mode(_section(data, "deploy").get("defaultDeploymentMode")),
        gateway_api=None if gateway_api is None else str(gateway_api).lower() == "true",
        schema=_schema(definition or {}),
    )


def _section(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        section = json.loads(data.get(name) or "{}")
    except ValueError:
        return {}
    return section if isinstance(section, dict) else {}


def _version(image: str) -> tuple[int, ...] | None:
    """KServe releases its images together, so the tag of one is the version of all."""
    found = re.search(r":v?(\d+)\.(\d+)\.(\d+)", image)
    return tuple(int(number) for number in found.groups()) if found else None


def _schema(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    versions = definition.get("spec", {}).get("versions") or []
    schemas = [item.get("schema", {}).get("openAPIV3Schema") for item in versions if item.get("name") == "v1beta1"]
    return schemas[0] if schemas and schemas[0] else {}
