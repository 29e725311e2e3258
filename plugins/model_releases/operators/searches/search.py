"""Begins a search for better settings, and says what it has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.documents import DocumentError
from include.contracts.search.document import SearchDocument
from include.contracts.search.settings import SearchConfig
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.outages import wait_out
from model_releases.addresses import refuse_shown
from model_releases.config.model import read_section
from model_releases.memory.candidate import open_plain, read_text
from model_releases.operators.base import unreachable
from model_releases.registry import get_registry_service

if TYPE_CHECKING:
    from airflow.sdk import Context


class BeginSearchOperator(BaseOperator):
    """Check what a search is asked for before compute is spent, and return where its trials are tracked.

    :param settings: section ``search`` of the model's YAML with what the form says (templated).
    :param refused_sources: what of the data cannot be read, in sentences; empty: nothing (templated).
    :param private_sources: names of the sources whose addresses have a secret, which no pod is given (templated).
    :param pipelines_conn_id: connection to the pipeline service.
    :param registry_conn_id: connection to the registry, which knows where trainings are tracked.
    :raises InvalidRequestError: when the search can never work as it stands.
    :raises ServiceUnavailableError: when the pipeline service does not answer.
    """

    template_fields: Sequence[str] = ("settings", "refused_sources", "private_sources")
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        settings: Mapping[str, Any],
        refused_sources: str = "",
        private_sources: str = "",
        pipelines_conn_id: str = "pipelines_default",
        registry_conn_id: str = "registry_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self.refused_sources = refused_sources
        self.private_sources = private_sources
        self.pipelines_conn_id = pipelines_conn_id
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Check it."""
        if self.refused_sources:
            raise InvalidRequestError(f"Nothing was started. {self.refused_sources}")
        read_section(SearchConfig, self.settings, name="search")
        pipelines = get_pipeline_service(self.pipelines_conn_id)
        refuse_shown(pipelines, self.private_sources)
        if problems := unreachable(self.pipelines_conn_id, pipelines.test_connection):
            raise ServiceUnavailableError(" ".join(["Nothing was started.", *problems]))
        registry = get_registry_service(self.registry_conn_id)
        return {"tracking_uri": wait_out(lambda: registry.tracking_uri)}


class PreparedOnce:
    """Leave out the preprocessing of a search whose data set is there: ``pre_execute`` of what writes it.

    All trials of a search, also of one that is gone on with, are trained and judged by the same rows.

    :param dataset_uri: of ``dataset.json``, which is written last (templated).
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    """

    def __init__(self, dataset_uri: str, *, store_conn_id: str | None = None) -> None:
        self.dataset_uri = dataset_uri
        self.store_conn_id = store_conn_id

    def __call__(self, context: Context) -> None:
        """Let the task go on, or skip it.

        :raises AirflowSkipException: when the data set is there.
        """
        uri = context["task"].render_template(self.dataset_uri, context)
        try:
            open_plain(uri, conn_id=self.store_conn_id).close()
        except OSError:
            return
        raise AirflowSkipException(f"{uri} is there already: the search goes on with it.")


class TellSearchOperator(BaseOperator):
    """Say what a search has found, and return the fields of a release's form; none when nothing better was found.

    :param model: name of the model.
    :param search: id of the search (templated).
    :param search_uri: of ``search.json`` (templated).
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    :raises InvalidRequestError: when the document is another search's, or not what it should be.
    """

    template_fields: Sequence[str] = ("search", "search_uri")
    ui_color = "#cfe2f3"

    def __init__(
        self, *, model: str, search: str, search_uri: str, store_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.search = search
        self.search_uri = search_uri
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Read and tell."""
        uri = self.search_uri
        try:
            found = SearchDocument.parse(read_text(uri, conn_id=self.store_conn_id), where=uri)
        except DocumentError as error:
            raise InvalidRequestError(str(error)) from None
        if (found.model, found.search) != (self.model, str(self.search)):
            raise InvalidRequestError(
                f"{uri} speaks of search {found.search} for {found.model}; this is search {self.search} for "
                f"{self.model}."
            )
        for line in found.in_words():
            self.log.info("%s", line)
        return found.form


class AskedForRelease:
    """Leave the release out that nobody asked for, or that has nothing new: ``pre_execute`` of what triggers it.

    :param found: id of the task that has told what was found.
    """

    def __init__(self, found: str) -> None:
        self.found = found

    def __call__(self, context: Context) -> None:
        """Let the task go on, or skip it.

        :raises AirflowSkipException: when there is nothing to release.
        """
        if not context["params"]["release"]:
            raise AirflowSkipException("No release was asked for: take the settings over by hand.")
        if not context["ti"].xcom_pull(task_ids=self.found):
            raise AirflowSkipException("The present settings are the best that were tried.")
