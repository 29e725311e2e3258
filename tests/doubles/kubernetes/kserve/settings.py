"""What kind of KServe installation the double plays."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.doubles.kubernetes.kserve.definitions import version_of

KNATIVE, STANDARD = "Knative", "Standard"

#: Names of the modes before 0.16, and what they are called since.
LEGACY_MODES = {"Serverless": KNATIVE, "RawDeployment": STANDARD}


@dataclass(frozen=True, slots=True, kw_only=True)
class KServeSettings:
    """An installation.

    :param version: of KServe, 0.15 to 0.21.
    :param default_mode: what the config map says; as shipped it is still the old name ``Serverless``.
    :param knative: whether Knative Serving is installed.
    :param gateway_api: whether Standard mode makes HTTPRoutes instead of an Ingress.
    :param domain: of the addresses of services.
    :param path_template: whether the gateway also answers under ``/serving/<namespace>/<name>/``.
    :param tokens: bearer tokens that the gateway lets in; empty lets everybody in.
    :param cookies: values of the cookie ``oauth2_proxy_kubeflow`` that the gateway lets in.
    """

    version: str = "0.18.0"
    default_mode: str = "Serverless"
    knative: bool = True
    gateway_api: bool = True
    domain: str = "example.com"
    path_template: bool = True
    tokens: frozenset[str] = field(default_factory=frozenset)
    cookies: frozenset[str] = field(default_factory=frozenset)

    @property
    def number(self) -> tuple[int, int]:
        return version_of(self.version)

    @property
    def canary_carries_weights(self) -> bool:
        """Whether ``spec.canary`` gets its share of the traffic: by HTTPRoutes only, and not yet in 0.20."""
        return self.gateway_api and self.number >= (0, 21)

    def mode_named(self, name: str) -> str | None:
        """Return the mode that an annotation asks for; ``None`` when this version knows no such name."""
        if name in LEGACY_MODES:
            return LEGACY_MODES[name]
        return name if name in (KNATIVE, STANDARD) and self.number >= (0, 16) else None

    def name_of(self, mode: str) -> str:
        """Return what this version calls a mode."""
        if self.number >= (0, 16):
            return mode
        return {new: old for old, new in LEGACY_MODES.items()}[mode]
