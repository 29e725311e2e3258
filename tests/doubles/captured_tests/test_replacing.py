from __future__ import annotations

import json

import pytest

from tests.captured import captured, versions
from tests.capturing.replacing import Replacer, written

ID, OTHER = "8a854c00-5aa3-4e87-bf10-d24486fed1be", "11d74b48-7ff4-4fd0-b687-72d022561b64"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"run {ID} of {OTHER}", "run 00000000-0000-4000-8000-000000000002 of 00000000-0000-4000-8000-000000000003"),
        ("in namespace acme-ml, pod acme-ml-7", "in namespace team, pod team-7"),
        ("acme-mlops is another", "acme-mlops is another"),
        ("User 'jane.doe@acme.example' is not authorized", "User 'system:serviceaccount:team:airflow-releases' is not"),
        ("asked by jane.doe@acme.example", "asked by somebody@example.com"),
        ("http://mlflow.acme.internal:5000/x", "http://store.example.com/x"),
        ("minio://bucket/v2", "minio://store.example.com/v2"),
        ("http://reviews-predictor.team.svc.cluster.local", "http://reviews-predictor.team.svc.cluster.local"),
        ("at 10.1.2.3: refused", "at 192.0.2.10: refused"),
        ("version 2.17.0", "version 2.17.0"),
    ],
)
def test_who_and_where_is_replaced(before: str, after: str) -> None:
    assert Replacer({"acme-ml": "team"}).text(before).startswith(after)


def test_documents_are_shortened_and_what_is_the_same_stays_the_same() -> None:
    run = {"run_id": ID, "run_details": {"task_details": []}, "pipeline_spec": {"root": {}}, "managedFields": [1]}
    replacer = Replacer({})

    lists = replacer.document({"runs": [run, run], "next_page_token": "secret"})
    single = replacer.document(run)

    number = "00000000-0000-4000-8000-000000000002"
    assert lists == {"runs": [{"run_id": number, "pipeline_spec": "cut"}], "next_page_token": "1"}
    assert single == {"run_id": number, "run_details": {"task_details": []}, "pipeline_spec": "cut"}
    pod = {"image": "registry.acme.internal:5000/ml/serving:1.0", "nodeName": "worker-3.acme"}
    assert replacer.document(pod) == {"image": "registry.example.com/team/serving:1.0", "nodeName": "node"}


@pytest.mark.parametrize("system", ["kubeflow_pipelines", "kserve", "model_registry"])
def test_what_is_kept_was_replaced_already(system: str) -> None:
    """Whoever adds a record by hand forgets nothing: replacing it once more changes nothing."""
    for version in versions(system):
        calls = list(captured(system, version).values())
        before, after = written(calls).splitlines(), written(Replacer({}).document(calls)).splitlines()

        assert [line for line, again in zip(before, after, strict=True) if line != again] == []
        assert json.loads(written(calls)) == calls
