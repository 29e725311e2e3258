"""``candidate.json``: written by the last step of the pipeline that makes a model, read by its release.

Kubeflow's REST API returns no outputs, so that what a pipeline has made is told by a document. What stands here is all
that a release asks of any kind of model; :mod:`include.contracts.kinds` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import Field

from include.contracts.documents import Document, Part, Positive, Sha256, Version
from include.contracts.registry_tags import (
    FORMAT_FACT,
    FORMAT_VERSION_FACT,
    SERVING_RUNTIME_FACT,
    TRACKING_RUN_FACT,
)
from include.contracts.version.runtimes import served_on


class Package(Part):
    """What is served of a model."""

    uri: str = Field(description="Folder that is served")
    sha256: Sha256

    @property
    def lies_in_store(self) -> bool:
        """Whether it is part of the version's folder in the model store, where every file of it is looked at."""
        return True

    def sizes(self) -> Mapping[str, int]:
        """Return URI -> size in bytes of every file that the digest stands for."""
        raise NotImplementedError

    def digest(self, sha256_of: Callable[[str], str]) -> str:
        """Return the digest of the files as they are now.

        :param sha256_of: returns the digest of a file by its URI.
        """
        raise NotImplementedError


class Archive(Package):
    """The packed model."""

    uri: str = Field(description="Folder in the layout of KServe's TorchServe runtime")
    file: str = Field(description="Path of the .mar inside the folder")
    sha256: Sha256
    size_bytes: Positive

    @property
    def file_uri(self) -> str:
        """Where the .mar lies."""
        return f"{self.uri.rstrip('/')}/{self.file}"

    def sizes(self) -> Mapping[str, int]:
        """Return the size of the .mar."""
        return {self.file_uri: self.size_bytes}

    def digest(self, sha256_of: Callable[[str], str]) -> str:
        """Return the digest of the .mar."""
        return sha256_of(self.file_uri)


class Candidate(Document):
    """A packed model and the evidence about it."""

    file = "candidate.json"
    _shown = ("model", "version")

    version: Version
    archive: Package
    report_uri: str = Field("", description="Report for people, one HTML file that needs no other")
    code_revision: str
    tracking_run_id: str | None = Field(description="MLflow run of the training, null when none was tracked")

    @property
    def model_format(self) -> str:
        """How it is packed, by the name that KServe's runtimes have for that."""
        raise NotImplementedError

    @property
    def model_format_version(self) -> str:
        """Of the format; empty where there is but one."""
        return ""

    @property
    def compared_version(self) -> str | None:
        """The live version that it was compared with; ``None`` when with none."""
        return None

    @property
    def runtime(self) -> str | None:
        """What it was judged on, and has to be served with; ``None`` where there is one way only."""
        return None

    def served_with(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings to serve it with.

        :param settings: what the model's YAML says by now.
        """
        return served_on(settings, self.runtime)

    def figures(self) -> dict[str, float]:
        """Return what was measured: for example ``candidate.macro_f1``, with ``live.macro_f1`` beside it."""
        return {}

    def facts(self) -> dict[str, str]:
        """Return what the registry keeps of it besides its figures; what has no value is left out."""
        return {name: str(value) for name, value in self._facts() if value not in (None, "")}

    def _facts(self) -> Iterator[tuple[str, Any]]:
        yield "archive_sha256", self.archive.sha256
        yield FORMAT_FACT, self.model_format
        yield FORMAT_VERSION_FACT, self.model_format_version
        yield "code_revision", self.code_revision
        yield SERVING_RUNTIME_FACT, self.runtime
        yield TRACKING_RUN_FACT, self.tracking_run_id
        yield "report_uri", self.report_uri
        yield "created_at", self.created_at
