"""Tells Airflow's OpenLineage provider about a pipeline run; it may not be installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.reading import is_local, read_given, shown

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class TellsLineage:
    """The part of a task that runs a pipeline which is about lineage: Airflow's provider calls its methods."""

    inlets: list[Any]
    outlets: list[Any]
    pipeline: str | None
    pipeline_file: str | None
    pipeline_spec: Mapping[str, Any] | str | None
    parameters: Mapping[str, Any]

    #: What is known of the run: ``run_id``, ``state``, ``url``, ``outputs``.
    _facts: dict[str, Any]

    def get_openlineage_facets_on_start(self) -> OperatorLineage:
        """Say what will run."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Say what has run."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Say what has failed."""
        return self._lineage()

    def _lineage(self) -> OperatorLineage:
        from kubeflow_provider.operators._lineage import lineage

        declared = bool(self.inlets or self.outlets)
        return lineage(self._known_pipeline(), self.parameters, has_declared_datasets=declared, **self._facts)

    def _known_pipeline(self) -> PipelineSpec | str:
        """Return what runs, or its name or address where only a service could say more: lineage asks nobody."""
        if self.pipeline_spec is None and (self.pipeline_file is None or not is_local(self.pipeline_file)):
            return self.pipeline or shown(str(self.pipeline_file))
        return read_given(pipeline_file=self.pipeline_file, pipeline_spec=self.pipeline_spec)
