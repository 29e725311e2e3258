"""Looks at a finished run as a release would, and changes nothing: for pipelines that another team owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.contracts.kinds.kubeflow_model import MeasuredMetric
from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.metrics_gate import missed
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.pipelines.outputs import read_written
from kubeflow_provider.run_outputs import ArtifactService, merged
from kubeflow_provider.services import PipelineService
from model_releases.config import KubeflowModelConfig
from model_releases.kinds.kubeflow_model import collecting, pipeline_document, predictions
from model_releases.memory.candidate import read_text
from model_releases.memory.published_model import connection_for, refuse_elsewhere, sizes_of


def check_run(config: KubeflowModelConfig, run_id: str, *, outputs_uri: str = "") -> Iterator[str]:
    """Yield a line for everything that a release could take from a run as it is.

    :param outputs_uri: where the run has written its outputs, for services that tell none.
    :raises InvalidRequestError: at the first thing that it could not, saying what to do.
    :raises ServiceUnavailableError: when something does not answer.
    """
    service = get_pipeline_service(config.connection("pipelines"))
    outputs = _outputs(config, service, run_id, outputs_uri)
    folders = [service.artifacts_uri(run_id)] if isinstance(service, ArtifactService) else []
    sources = [*config.model_sources, *folders]

    def document(uri: str) -> str:
        refuse_elsewhere(uri, sources, what="document")
        return read_text(uri, conn_id=connection_for(uri, config.store_uri, config.store_conn_id))

    told = pipeline_document.told(outputs, config.outputs, config.smoke_test, document)
    if config.outputs.document:
        yield "document: as its schema says"
    yield _model(config, told, sources)
    computed = {}
    if place := collecting.predictions_uri(told.outputs, told.asked):
        refuse_elsewhere(place, sources, what="predictions")
        found = predictions.read_predictions(place, store_uri=config.store_uri, conn_id=config.store_conn_id)
        computed = predictions.figures_of(found, config.metrics)
        yield f"predictions: {len(found):,} rows, at {without_secrets(place)}"
    metrics = collecting.measured(told.outputs, told.asked, config.metrics, None, computed=computed)
    words = [f"{metric['name']} {metric['value']:.6g}" for metric in metrics]
    yield f"metrics: {', '.join(words)}"
    asked = told.smoke_test
    yield f"requests: {len(asked.requests)} to be answered, {len(asked.refused)} to be refused, by the smoke test alone"
    reasons = missed([MeasuredMetric.model_validate(metric) for metric in metrics], config.policy)
    yield f"gate: {'; '.join(reasons) or 'good enough for a first release'}"


def _outputs(config: KubeflowModelConfig, service: PipelineService, run_id: str, outputs_uri: str) -> dict[str, Any]:
    run = service.get_run(run_id)
    if run is None:
        raise InvalidRequestError(f"Connection {config.connection('pipelines')!r} knows no run {run_id}.")
    if not run.state.is_successful:
        raise InvalidRequestError(f"Run {run_id} is {run.state.value}: only one that has succeeded has outputs.")
    if not outputs_uri:
        return merged(run.outputs, None)
    conn_id = connection_for(outputs_uri, config.store_uri, config.store_conn_id)
    written: Mapping[str, Any] | None = read_written(outputs_uri, conn_id=conn_id)
    if written is None:
        raise InvalidRequestError(f"There is no document at {without_secrets(outputs_uri)}: OUTPUTS names none.")
    return merged(run.outputs, written)


def _model(config: KubeflowModelConfig, told: pipeline_document.Told, sources: Sequence[str]) -> str:
    uri = collecting.model_uri(told.outputs, told.asked)
    refuse_elsewhere(uri, sources)
    conn_id = connection_for(uri, config.store_uri, config.store_conn_id)
    sizes = sizes_of(uri, file_name=config.outputs.model_file, conn_id=conn_id)
    files = f"{', '.join(sorted(sizes)[:5])}, {sum(sizes.values()):,} bytes" if sizes else "served as it is"
    return f"model: {files}, at {without_secrets(uri)}"
