"""The doubles answer in the shapes of real servers, every version that was recorded."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.captured import captured, described, versions
from tests.capturing.doubles import NAMESPACE, record
from tests.capturing.shapes import differences, is_excused

#: What need not be the same, by system: why, and the lines of a shape that it is about.
VARIES: dict[str, dict[str, tuple[str, ...]]] = {
    "kubeflow_pipelines": {
        "what the pipeline of a run asks for": ("*.runtime_config.parameters.*",),
        "how a server's runs are doing, and how many it has": ("*.runs[].state = *", "*.next_page_token: text"),
        "whether the agent looked before Argo did": ("*.state_history[].update_time: time",),
        "whether the agent looked in between": ("*.state_history[CANCELING]*",),
        "how far a run is at that moment": (
            "a run that has just begun.answer.run_details*",
            "a run that is being cancelled.answer.run_details*",
        ),
        "left out by the double, and read by nothing of ours": (
            "*.tasks[*].inputs.*",
            "*.tasks[*].type_attributes: *",
        ),
    },
    "model_registry": {},
    "kserve": {
        "what the release says of itself whose service was recorded": (
            "*kubeflow-provider/*",
            "*.app.kubernetes.io/managed-by: text",
            "*.serving.kserve.io/enable-tag-routing: text",
        ),
        "kubectl, with which it was recorded, calls every list by one name": ("*.answer.kind = *List",),
        "whether there were pods when KServe looked": ("*.modelStatus.copies.totalCopies: number",),
        "KServe mounts the package into the pod, the double into its template": (
            "its deployment.*[kserve-pvc-source]*",
        ),
        "defaults of an API server that the double does not fill in": (
            "its deployment.answer.spec.progressDeadlineSeconds: number",
            "its deployment.answer.spec.revisionHistoryLimit: number",
            "its deployment.answer.spec.template.metadata.name*: text",
            "*.spec.terminationGracePeriodSeconds: number",
            "*.spec.restartPolicy = Always",
            "*.spec.dnsPolicy: text",
            "*.spec.schedulerName: text",
            "*.spec.securityContext: empty object",
            "*.imagePullPolicy: text",
            "*.readinessProbe.successThreshold: number",
            "*.terminationMessagePath: text",
            "*.spec.enableServiceLinks: yes or no",
            "*.spec.preemptionPolicy: text",
            "*.spec.priority: number",
            "*.spec.serviceAccount: text",
            "*.spec.tolerations[*",
        ),
        "left out by the double, and read by nothing of ours": (
            "*.serving.kserve.io/enable-metric-aggregation: text",
            "*.serving.kserve.io/enable-prometheus-scraping: text",
            "*.deployment.kubernetes.io/revision: text",
            "*.conditions[*].lastUpdateTime: time",
            "*.items[].status.observedGeneration: number",
            "*.items[].status.conditions[*].observedGeneration: number",
            "*.conditions[PodReadyToStartContainers]*",
            "*.allocatedResources.*",
            "*.containerStatuses[*].resources.*",
            "*.containerStatuses[*].volumeMounts*",
            "*.containerID: text",
            "*.status.hostIPs[].ip: text",
            "*.status.podIPs[].ip: text",
        ),
    },
}
PATTERNS = {system: [line for lines in reasons.values() for line in lines] for system, reasons in VARIES.items()}
CASES = [(system, name, what) for system in VARIES for name in versions(system) for what in captured(system, name)]


@cache
def answers(system: str, version: str) -> dict[str, dict[str, Any]]:
    """Return what the double of a version answers, by what it is asked, as the command has written it down."""
    with tempfile.TemporaryDirectory() as folder:
        file = record(system, version, Path(folder))
        text = file.read_text(encoding="utf-8")
    assert file.parent.name == version
    assert NAMESPACE not in text
    assert "127.0.0.1" not in text
    return {call["what"]: call for call in json.loads(text)}


def drift(system: str, version: str, what: str, call: dict[str, Any]) -> list[str]:
    """Return every difference between a recorded answer and the double's."""
    assert what in answers(system, version), f"tests/capturing does not ask for {what!r} any more"
    both = (call, answers(system, version)[what])
    wanted, found = ({key: entry[key] for key in ("status", "answer")} for entry in both)
    return differences(wanted, found, path=what)


@pytest.mark.parametrize(("system", "version", "what"), CASES)
def test_the_double_answers_as_the_real_one_did(system: str, version: str, what: str) -> None:
    call = captured(system, version)[what]
    found = answers(system, version)[what]

    assert found["request"]["method"] == call["request"]["method"]
    assert [line for line in drift(system, version, what, call) if not is_excused(line, PATTERNS[system])] == []


@pytest.mark.parametrize(("system", "what"), [(system, what) for system in VARIES for what in described(system)])
def test_the_double_refuses_as_it_is_described_where_nobody_has_recorded_it(system: str, what: str) -> None:
    for version in versions(system):
        if what not in captured(system, version):
            assert drift(system, version, what, described(system)[what]) == []


@pytest.mark.parametrize("system", VARIES)
def test_every_excuse_is_needed(system: str) -> None:
    lines = [
        line
        for version in versions(system)
        for what, call in captured(system, version).items()
        for line in drift(system, version, what, call)
    ]

    assert [pattern for pattern in PATTERNS[system] if not any(is_excused(line, [pattern]) for line in lines)] == []


@pytest.mark.parametrize("system", VARIES)
def test_what_is_described_is_not_recorded_everywhere(system: str) -> None:
    for what, call in described(system).items():
        assert call["source"]
        assert any(what not in captured(system, version) for version in versions(system)), what
