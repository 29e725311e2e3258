"""Which call stands behind which path, and the model of the published client that its answer must fit."""

from __future__ import annotations

from tests.doubles.kfp_server import catalogue, recurring_runs, runs
from tests.doubles.kfp_server.api import Route

_V2 = "/apis/v2beta1"
_ID = "([^/:]+)"
ROUTES: list[Route] = [
    ("GET", f"{_V2}/healthz", catalogue.get_health, None),
    ("GET", f"{_V2}/experiments", catalogue.list_experiments, "V2beta1ListExperimentsResponse"),
    ("POST", f"{_V2}/experiments", catalogue.create_experiment, "V2beta1Experiment"),
    ("GET", f"{_V2}/experiments/{_ID}", catalogue.get_experiment, "V2beta1Experiment"),
    ("GET", f"{_V2}/pipelines", catalogue.list_pipelines, "V2beta1ListPipelinesResponse"),
    ("POST", f"{_V2}/pipelines", catalogue.create_pipeline, "V2beta1Pipeline"),
    ("POST", f"{_V2}/pipelines/upload_version", catalogue.upload_version, "V2beta1PipelineVersion"),
    ("GET", f"{_V2}/pipelines/names/{_ID}", catalogue.get_pipeline_by_name, "V2beta1Pipeline"),
    ("GET", f"{_V2}/pipelines/{_ID}", catalogue.get_pipeline, "V2beta1Pipeline"),
    ("GET", f"{_V2}/pipelines/{_ID}/versions/{_ID}", catalogue.get_version, "V2beta1PipelineVersion"),
    ("GET", f"{_V2}/pipelines/{_ID}/versions", catalogue.list_versions, "V2beta1ListPipelineVersionsResponse"),
    ("GET", f"{_V2}/runs", runs.list_runs, "V2beta1ListRunsResponse"),
    ("POST", f"{_V2}/runs", runs.create_run, "V2beta1Run"),
    ("GET", f"{_V2}/runs/{_ID}", runs.get_run, "V2beta1Run"),
    ("DELETE", f"{_V2}/runs/{_ID}", runs.delete_run, None),
    ("POST", f"{_V2}/runs/{_ID}:terminate", runs.terminate_run, None),
    ("POST", f"{_V2}/runs/{_ID}:retry", runs.retry_run, None),
    ("POST", f"{_V2}/runs/{_ID}:archive", runs.archive_run, None),
    ("POST", f"{_V2}/runs/{_ID}:unarchive", runs.unarchive_run, None),
    ("GET", f"{_V2}/recurringruns", recurring_runs.list_recurring_runs, "V2beta1ListRecurringRunsResponse"),
    ("POST", f"{_V2}/recurringruns", recurring_runs.create_recurring_run, "V2beta1RecurringRun"),
    ("GET", f"{_V2}/recurringruns/{_ID}", recurring_runs.get_recurring_run, "V2beta1RecurringRun"),
    ("DELETE", f"{_V2}/recurringruns/{_ID}", recurring_runs.delete_recurring_run, None),
    ("POST", f"{_V2}/recurringruns/{_ID}:enable", recurring_runs.enable_recurring_run, None),
    ("POST", f"{_V2}/recurringruns/{_ID}:disable", recurring_runs.disable_recurring_run, None),
    ("GET", f"/apis/v1alpha1/runs/{_ID}/nodes/{_ID}/log", runs.get_node_log, None),
    ("GET", "/k8s/pod/logs", runs.get_pod_log, None),
]
