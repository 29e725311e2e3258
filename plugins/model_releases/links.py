"""Buttons on the page of a task of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeflow_provider.links import XComLink, airflow_url
from model_releases.memory import xcoms

if TYPE_CHECKING:
    from include.contracts.candidate import Candidate


class EndpointLink(XComLink):
    """Leads to the address that users call for predictions."""

    name = "Endpoint"
    key = xcoms.ENDPOINT


class ReportLink(XComLink):
    """Leads to the evaluation's report on the Releases page."""

    name = "Report"
    key = xcoms.REPORT_URL


class RegistryLink(XComLink):
    """Leads to the version's page in the registry, where that has pages."""

    name = "Registry"
    key = xcoms.REGISTRY_URL


def report_page_url(candidate: Candidate) -> str | None:
    """Return the page of ``plugins/releases_plugin.py`` that shows a candidate's report, ``None`` without one."""
    if not candidate.report_uri:
        return None
    return airflow_url("releases", "models", candidate.model, "versions", candidate.version, "report")
