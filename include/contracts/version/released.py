"""``release.json``: what the registry of the installation that released a version says of it.

It lies beside ``candidate.json``, so that another installation can take the version over: the registries do not know
each other, the model store is what both read.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.contracts.documents import Document, Sha256, Version
from include.contracts.version.evidence import Evidence


class ReleaseDocument(Document):
    """A version that went live, with what was judged of it."""

    file = "release.json"
    _shown = ("model", "version")

    version: Version
    candidate_sha256: Sha256 = Field(description="Of candidate.json")
    archive_sha256: Sha256
    report_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = Field("", description="Empty without a report")
    gate: str = Field(description="The gate's word, with every reason")
    dag_run_url: str = Field("", description="The DAG run that released it, for people")
    facts: dict[str, str] = Field(description="Everything else that the registry keeps of it: run, approval, metrics")

    @property
    def evidence(self) -> Evidence:
        """What was judged."""
        return Evidence(
            candidate_sha256=self.candidate_sha256,
            archive_sha256=self.archive_sha256,
            report_sha256=self.report_sha256,
        )
