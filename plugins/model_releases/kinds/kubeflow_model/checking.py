"""Looks at a finished run as a release would, and changes nothing: for pipelines that another team owns."""

from __future__ import annotations

from collections.abc import Iterator

from include.contracts.kinds.kubeflow_model import MeasuredMetric
from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.metrics_gate import missed
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.pipelines.outputs import read_written
from kubeflow_provider.run_outputs import ArtifactService, merged
from model_releases.config import KubeflowModelConfig
from model_releases.kinds.kubeflow_model import collecting, predictions
from model_releases.memory.published_model import refuse_elsewhere, sizes_of


def check_run(config: KubeflowModelConfig, run_id: str, *, outputs_uri: str = "") -> Iterator[str]:
    """Yield a line for everything that a release could take from a run as it is.

    :param outputs_uri: where the run has written its outputs, for services that tell none.
    :raises InvalidRequestError: at the first thing that it could not, saying what to do.
    :raises ServiceUnavailableError: when something does not answer.
    """
    service = get_pipeline_service(config.connection("pipelines"))
    run = service.get_run(run_id)
    if run is None:
        raise InvalidRequestError(f"Connection {config.connection('pipelines')!r} knows no run {run_id}.")
    if not run.state.is_successful:
        raise InvalidRequestError(f"Run {run_id} is {run.state.value}: only one that has succeeded has outputs.")
    outputs = merged(run.outputs, read_written(outputs_uri) if outputs_uri else None)
    uri = collecting.model_uri(outputs, config.outputs)
    folders = [service.artifacts_uri(run_id)] if isinstance(service, ArtifactService) else []
    refuse_elsewhere(uri, [*config.model_sources, *folders])
    sizes = sizes_of(uri, file_name=config.outputs.model_file, conn_id=config.store_conn_id)
    yield f"model: {', '.join(sorted(sizes)[:5])}, {sum(sizes.values()):,} bytes, at {without_secrets(uri)}"
    computed = {}
    if place := collecting.predictions_uri(outputs, config.outputs):
        refuse_elsewhere(place, [*config.model_sources, *folders], what="predictions")
        found = predictions.read_predictions(place, store_uri=config.store_uri, conn_id=config.store_conn_id)
        computed = predictions.figures_of(found, config.metrics)
        yield f"predictions: {len(found):,} rows, at {without_secrets(place)}"
    metrics = collecting.measured(outputs, config.outputs, config.metrics, None, computed=computed)
    words = [f"{metric['name']} {metric['value']:.6g}" for metric in metrics]
    yield f"metrics: {', '.join(words)}"
    reasons = missed([MeasuredMetric.model_validate(metric) for metric in metrics], config.policy)
    yield f"gate: {'; '.join(reasons) or 'good enough for a first release'}"
