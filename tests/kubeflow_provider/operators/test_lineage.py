"""What OpenLineage is told about a pipeline run, through Airflow's own provider for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset

from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.pipelines.reading import read_pipeline_spec

pytest.importorskip("airflow.providers.openlineage")

RUN_ID = "7d4f4b0e-95f7-4a5b-8c38-35a6f6b3b6a5"


@pytest.fixture
def make(record_and_wait: str) -> Callable[..., RunPipelineOperator]:
    def make(**arguments: Any) -> RunPipelineOperator:
        parameters = {"dataset_uri": "s3://models/reviews/dataset.json", "output_uri": "s3://models/reviews/1"}
        given = {"task_id": "train", "pipeline_file": record_and_wait, "parameters": parameters}
        return RunPipelineOperator(**given | arguments)

    return make


def extracted(operator: RunPipelineOperator, state: str = "success") -> Any:
    """Return what Airflow's provider would send."""
    from airflow.providers.openlineage.extractors import ExtractorManager
    from airflow.utils.state import TaskInstanceState

    class DagRun:
        run_id = "manual"

    return ExtractorManager().extract_metadata(DagRun(), operator, TaskInstanceState(state), None)


def finished(operator: RunPipelineOperator) -> RunPipelineOperator:
    event = {"outcome": "over", "run_id": RUN_ID, "state": "SUCCEEDED", "url": f"https://kfp/#/runs/details/{RUN_ID}"}
    store = {PIPELINE_RUN_KEY: {"run_id": RUN_ID}}
    operator.execute_complete({"task_state_store": store}, event)  # type: ignore[typeddict-item]
    return operator


def test_names_the_pipeline_before_there_is_a_run(make: Callable[..., Any], record_and_wait: str) -> None:
    lineage = extracted(make(), "running")

    facet = lineage.run_facets["kubeflow_pipelineRun"]
    assert facet.pipeline == "record-and-wait"
    assert facet.pipelineSha256 == read_pipeline_spec(record_and_wait).sha256
    assert facet.runId is None
    assert "externalQuery" not in lineage.run_facets


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"pipeline": "sums"}, "sums"),
        ({"pipeline_file": "https://example.com/sums?sig=hidden"}, "https://example.com/sums"),
    ],
)
def test_asks_nobody_what_the_pipeline_is(make: Callable[..., Any], given: dict[str, str], name: str) -> None:
    facet = extracted(make(**{"pipeline_file": None, **given}), "running").run_facets["kubeflow_pipelineRun"]

    assert (facet.pipeline, facet.pipelineSha256) == (name, None)


@pytest.mark.parametrize("state", ["success", "failed"])
def test_names_the_run_that_a_resumed_task_has_waited_for(make: Callable[..., Any], state: str) -> None:
    lineage = extracted(finished(make()), state)

    facet = lineage.run_facets["kubeflow_pipelineRun"]
    assert (facet.runId, facet.state, facet.url) == (RUN_ID, "SUCCEEDED", f"https://kfp/#/runs/details/{RUN_ID}")
    assert lineage.run_facets["externalQuery"].externalQueryId == RUN_ID


def test_what_a_run_reads_and_writes_are_its_parameters(make: Callable[..., Any]) -> None:
    lineage = extracted(make())

    assert [(dataset.namespace, dataset.name) for dataset in lineage.inputs] == [
        ("s3://models", "reviews/dataset.json")
    ]
    assert [(dataset.namespace, dataset.name) for dataset in lineage.outputs] == [("s3://models", "reviews/1")]


def test_declared_data_sets_stand_instead(make: Callable[..., Any]) -> None:
    lineage = extracted(make(inlets=[Asset("file:///raw/reviews.parquet")]))

    assert [(dataset.namespace, dataset.name) for dataset in lineage.inputs] == [("file", "/raw/reviews.parquet")]
    assert lineage.outputs == []
    assert "kubeflow_pipelineRun" in lineage.run_facets


def test_the_facets_can_be_sent(make: Callable[..., Any]) -> None:
    from openlineage.client.serde import Serde

    sent = json.loads(Serde.to_json(extracted(finished(make())).run_facets["kubeflow_pipelineRun"]))

    assert sent["runId"] == RUN_ID
    assert {"_producer", "_schemaURL"} <= set(sent)


# What a run imports and has made


def test_what_a_run_has_made_is_an_output_and_what_it_has_imported_an_input(make: Callable[..., Any]) -> None:
    operator = make(parameters={"output_uri": "s3://models/reviews/1"})
    operator._facts = {
        "outputs": {
            "artifacts": {"model": {"uri": "s3://models/reviews/1"}},
            "steps": {
                "importer": {"artifacts": {"artifact": {"uri": "gs://raw/reviews", "imported": True}}},
                "split": {"artifacts": {"parts": [{"uri": "s3://data/a"}, {"uri": ""}, {"uri": "s3://data/b"}]}},
                "count": {"parameters": {"rows": 3}},
            },
        }
    }

    lineage = extracted(operator)

    assert [(each.namespace, each.name) for each in lineage.inputs] == [("gs://raw", "reviews")]
    assert [each.name for each in lineage.outputs] == ["reviews/1", "a", "b"]


def test_what_a_run_will_import_is_known_before_it_starts(make: Callable[..., Any]) -> None:
    pipeline = str(Path(__file__).parents[2] / "test_pipelines" / "cluster_settings_before.yaml")

    lineage = extracted(make(pipeline_file=pipeline, parameters={}), "running")

    assert [(each.namespace, each.name) for each in lineage.inputs] == [("s3://data", "reviews")]
