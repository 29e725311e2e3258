"""What says which pipeline a task is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.reading import read_given
from kubeflow_provider.services import PipelineService

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class PipelineTask(ServiceOperator):
    """A task that is given a pipeline, as it is or by where it is kept.

    :ivar pipeline_file: compiled pipeline: a path or a URI.
    :ivar pipeline: name or id of one that the service keeps.
    :ivar pipeline_version: name or id of its version; ``None`` for the newest.
    :ivar pipeline_spec: compiled pipeline itself, or the output of another task. Never rendered, for it has curly
        brackets of its own.
    """

    pipeline_file: str | None = None
    pipeline: str | None = None
    pipeline_version: str | None = None
    pipeline_spec: Mapping[str, Any] | str | None = None

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value, and what is in it, but leave alone the pipeline itself."""
        if content is self.pipeline_spec and isinstance(content, str | Mapping):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def check_pipeline(self) -> None:
        """Find out whether exactly one argument says which pipeline.

        :raises ValueError: when none does, or more than one.
        """
        if [self.pipeline_file, self.pipeline, self.pipeline_spec].count(None) != 2:
            raise ValueError("exactly one of pipeline_file, pipeline and pipeline_spec says what runs")
        if self.pipeline_version is not None and self.pipeline is None:
            raise ValueError("pipeline_version is that of a pipeline: name it")

    def read_pipeline(self, service: PipelineService) -> PipelineSpec:
        """Return the pipeline, read once: what parameters are checked against is what runs."""
        if self.pipeline is not None:
            # A template that has nothing to say renders to an empty text.
            return service.find_pipeline(self.pipeline, self.pipeline_version or None)
        return read_given(pipeline_file=self.pipeline_file, pipeline_spec=self.pipeline_spec)
