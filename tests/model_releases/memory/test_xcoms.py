"""The XCom keys of releases are stored: those under way, and the pages of those that are over, read them."""

from __future__ import annotations

from kubeflow_provider import links
from model_releases.memory import xcoms

#: As version 0.1.0 stored them, and what came later.
STORED = {
    "PREVIOUS_VERSION": "previous_version",
    "ENDPOINT": "endpoint",
    "NOT_DUE": "not_due",
    "JUDGED": "judged",
    "PREDICTIONS": "predictions",
    "DECISION": "decision",
    "GATE": "gate",
    "POLICY": "policy",
    "CARRIED": "carried",
    "APPROVAL": "approval",
    "FAILURE": "release_failure",
    "REPORT_URL": "report_url",
    "REGISTRY_URL": "registry_url",
    "CARD": "card",
    "OUTCOME": "outcome",
}


def test_what_is_stored_is_found_again() -> None:
    assert {name: key for name, key in vars(xcoms).items() if name.isupper()} == STORED
    assert (links.XCOM_RUN_ID, links.XCOM_RUN_URL, links.XCOM_EXPERIMENT_URL) == ("run_id", "run_url", "experiment_url")


def test_no_two_kinds_share_a_key() -> None:
    assert len(set(STORED.values())) == len(STORED)
