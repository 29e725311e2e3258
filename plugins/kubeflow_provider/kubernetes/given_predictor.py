"""What serves a model that is no archive of this project: the part ``predictor`` of a version's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kubeflow_provider.kubernetes.settings_base import ObjectName, Settings, Text, VariableName


class GivenContainer(Settings):
    """A container of one's own; KServe puts the model's files at ``/mnt/models``."""

    image: Text = Field(description="With its digest, so that a version that is put back is the same.")
    command: tuple[str, ...] = Field((), description="None: that of the image.")
    args: tuple[str, ...] = Field((), description="None: those of the image.")
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(8080, description="At which it answers.")

    @property
    def is_pinned(self) -> bool:
        """Whether the name can stand for one image only."""
        return "@sha256:" in self.image


class GivenPredictor(Settings):
    """A format that a runtime of the cluster serves, or a container of one's own.

    :ivar format: KServe's ``modelFormat``; ``None`` for a container.
    :ivar protocol: that users speak; requests and answers are passed on as they are.
    :ivar runtime: ServingRuntime; ``None``: KServe takes one that fits.
    :ivar model_name: name in the paths of requests; ``None``: that of the InferenceService, as with KServe's own
        runtimes.
    """

    _called = ("Predictor settings", "predictor")

    format: Text | None = None
    protocol: Literal["v1", "v2"] = "v1"
    runtime: ObjectName | None = None
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    container: GivenContainer | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.format is None) is (self.container is None):
            raise ValueError("exactly one of `format` and `container` says what serves it")
        if self.container and self.runtime:
            raise ValueError("`runtime` is for a format only")
        return self

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> GivenPredictor | None:
        """Read the settings of a version; ``None`` where it is an archive of this project.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once.
        """
        section = settings.get("predictor")
        return cls.from_mapping(section) if section else None
