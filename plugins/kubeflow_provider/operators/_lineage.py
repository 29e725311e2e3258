"""What a pipeline run reads, writes and is, for OpenLineage.

Import it only where Airflow's OpenLineage provider has called: it is no dependency of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.providers.common.compat.openlineage.facet import ExternalQueryRunFacet, RunFacet
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from attrs import define

from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.imports import imported_uris
from kubeflow_provider.run_outputs import artifacts_of

#: Parameters of the reference project's pipelines that name what a run reads and where it writes.
_INPUT, _OUTPUT = "dataset_uri", "output_uri"

#: Name of the facet, as consumers of events find it: never rename.
RUN_FACET = "kubeflow_pipelineRun"


@define
class KubeflowPipelineRunFacet(RunFacet):
    """The run in the pipeline service.

    :param pipeline: name of the pipeline, or the address that it was read from.
    :param pipelineSha256: hex digest of what the pipeline does, ``None`` where it is not at hand.
    :param runId: id in the service, ``None`` before it was asked for.
    :param state: last known state.
    :param url: page of the run for people.
    """

    pipeline: str
    pipelineSha256: str | None = None
    runId: str | None = None
    state: str | None = None
    url: str | None = None

    _additional_skip_redact = ["pipeline", "pipelineSha256", "runId", "state", "url"]


def lineage(
    pipeline: PipelineSpec | str,
    parameters: Mapping[str, Any],
    *,
    has_declared_datasets: bool,
    run_id: str | None = None,
    state: str | None = None,
    url: str | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> OperatorLineage:
    """Return the lineage of one run.

    :param pipeline: what runs, or what it is called where it is not at hand.
    :param parameters: the run's parameters; ``dataset_uri`` and ``output_uri`` are taken as what it reads and writes,
        beside what its importers make known and what it has made.
    :param has_declared_datasets: the task has ``inlets`` or ``outlets``: then these stand, and Airflow sends them.
    :param run_id: the run, once there is one.
    :param state: its state.
    :param url: its page.
    :param outputs: what it has made, once that is known; see :mod:`kubeflow_provider.run_outputs`.
    """
    facets: dict[str, RunFacet] = {
        RUN_FACET: KubeflowPipelineRunFacet(
            pipeline=pipeline if isinstance(pipeline, str) else pipeline.name,
            pipelineSha256=None if isinstance(pipeline, str) else pipeline.sha256,
            runId=run_id,
            state=state,
            url=url,
        )
    }
    if run_id:
        facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=run_id, source="kubeflow_pipelines")
    if has_declared_datasets:
        return OperatorLineage(run_facets=facets)
    read = [parameters.get(_INPUT), *([] if isinstance(pipeline, str) else imported_uris(pipeline, parameters))]
    written = [parameters.get(_OUTPUT)]
    for artifact in artifacts_of(outputs or {}):
        (read if artifact.get("imported") else written).append(artifact["uri"])
    return OperatorLineage(inputs=_datasets(read), outputs=_datasets(written), run_facets=facets)


def _datasets(uris: Iterable[Any]) -> list[Any]:
    """Name data sets as Airflow does for other tasks, so that the ends meet; each once."""
    known = dict.fromkeys(str(uri) for uri in uris if uri)
    datasets = (ExtractorManager.convert_to_ol_dataset_from_object_storage_uri(uri) for uri in known)
    return [dataset for dataset in datasets if dataset]
