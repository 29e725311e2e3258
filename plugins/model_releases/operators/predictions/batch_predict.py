"""Scores a table or a folder with the live or a named version of a text classifier."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.contracts.batch.documents import PLAN, PREDICTIONS, Plan, Predictions
from include.contracts.batch.settings import PredictionsConfig, refused_output
from include.contracts.documents import DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.rules.addresses import secrets_of
from include.contracts.rules.allowed_sources import EVERYTHING, refusals
from include.contracts.uris import file_uri, from_outside
from include.models import PROJECT_DIR
from kubeflow_provider.compat import fail_at_once
from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks import get_serving_service
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.outages import patient
from model_releases.memory import xcoms
from model_releases.memory.candidate import read_text
from model_releases.memory.evidence import read_judged
from model_releases.memory.live import find_live
from model_releases.registry import get_registry_service
from model_releases.rules.retention import ARCHIVE_DELETED_AT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from model_releases.registry.service import RegistryService, Release

#: What a person writes for the version that users reach.
LIVE = "live"
_VERSION = re.compile(r"[0-9]{14}")
#: A run that has failed is worth another try, which goes on where it was.
RETRY_POLICY = fail_at_once(
    {InvalidRequestError: "the request itself is wrong", PermissionDeniedError: "permission denied"}
)
#: The compiled pipeline of this project.
PIPELINE = str(PROJECT_DIR / "include" / "pipelines" / "batch_predict.yaml")


class BatchPredictOperator(RunPipelineOperator):
    """Score every row of a table or a folder once, in shards that are pipeline steps side by side.

    What is scored and by which version is pinned by the first try. A retry, a cleared task and another task with the
    same output go on with that, and score what is not there yet; when another version has gone live since, too.

    XCom besides those of :class:`RunPipelineOperator`: ``predictions``, with ``uri``, ``version``, ``rows``,
    ``predicted`` and ``rejected``.

    Without a ``retry_policy`` of its own a run that has failed is tried again, unlike other pipelines'.

    :param model: name of the model (templated).
    :param data_uri: path or URI of a file, folder or pattern of CSV, TSV, JSON Lines or Parquet (templated).
    :param output_uri: folder for the predictions, empty or with a part of them (templated).
    :param store_uri: folder of the model in the model store (templated).
    :param reading: the settings :data:`~include.contracts.batch.settings.READING` of the model's section ``data``,
        which say how a row becomes a text.
    :param text_columns: names of the columns with the text, as a list or as JSON; empty: those of ``reading``
        (templated).
    :param version: 14 digits, or ``live`` (templated).
    :param workers: steps that score side by side (templated).
    :param shard_rows: rows of one output file (templated).
    :param step_resources: ``cpu``, ``memory``, ``accelerator_type`` and ``accelerator_count`` of each step.
    :param allowed_sources: what ``data_uri`` may be, as a list or as JSON; default: anything (templated).
    :param allowed_outputs: where ``output_uri`` may lie, likewise (templated).
    :param serving_conn_id: connection to the serving system, which knows what is live (templated).
    :param registry_conn_id: connection to the registry, which vouches for the version (templated).
    :param store_conn_id: Airflow connection for the model store and the output, where they need one (templated).
    """

    template_fields: Sequence[str] = (
        *RunPipelineOperator.template_fields,
        "model",
        "data_uri",
        "output_uri",
        "store_uri",
        "text_columns",
        "version",
        "workers",
        "shard_rows",
        "allowed_sources",
        "allowed_outputs",
        "serving_conn_id",
        "registry_conn_id",
        "store_conn_id",
    )

    def __init__(
        self,
        *,
        model: str,
        data_uri: str,
        output_uri: str,
        store_uri: str,
        reading: Mapping[str, Any],
        text_columns: Sequence[str] | str = (),
        version: str = LIVE,
        workers: int | str = 1,
        shard_rows: int | str = PredictionsConfig().shard_rows,
        step_resources: Mapping[str, str] | None = None,
        allowed_sources: Sequence[str] | str = (EVERYTHING,),
        allowed_outputs: Sequence[str] | str = (EVERYTHING,),
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not {"pipeline", "pipeline_spec"} & kwargs.keys():
            kwargs.setdefault("pipeline_file", PIPELINE)
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)
        self.model = model
        self.data_uri = data_uri
        self.output_uri = output_uri
        self.store_uri = store_uri
        self.reading = reading
        self.text_columns = text_columns
        self.version = version
        self.workers = workers
        self.shard_rows = shard_rows
        self.step_resources = step_resources or {}
        self.allowed_sources = allowed_sources
        self.allowed_outputs = allowed_outputs
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    @property
    def _folder_uri(self) -> str:
        """The folder of the output as a URI."""
        location = from_outside(self.output_uri.strip())
        return (location if "://" in location else file_uri(PROJECT_DIR / location)).rstrip("/")

    def run_parameters(self, context: Context) -> Mapping[str, Any]:
        """Choose the version and return the parameters of a run.

        :raises InvalidRequestError: when the form names what it may not, or the version cannot score.
        :raises ServiceUnavailableError: when the store, the serving system or the registry does not answer.
        """
        allowed_sources, allowed_outputs = _as_list(self.allowed_sources), _as_list(self.allowed_outputs)
        self._refuse(allowed_sources, allowed_outputs)
        registry: RegistryService = patient(get_registry_service(self.registry_conn_id))
        release = self._release(registry, self._chosen(registry))
        candidate_uri = f"{self.store_uri}/{release.version}/candidate.json"
        candidate = read_judged(
            self.model,
            release.version,
            uri=candidate_uri,
            sha256=release.facts.get("candidate_sha256"),
            conn_id=self.store_conn_id,
        )
        if not isinstance(candidate, TextClassifierCandidate):
            raise InvalidRequestError(f"{self.model} is no text classifier of this project; only these score tables.")
        archive_sha256 = release.facts.get("archive_sha256", candidate.archive.sha256)
        if archive_sha256 != candidate.archive.sha256:
            raise InvalidRequestError(
                f"{candidate_uri} announces the archive {candidate.archive.sha256}, and {archive_sha256} was released: "
                "restore it from a back-up, or name another version."
            )
        columns = _as_list(self.text_columns)
        # kfp.local takes no null.
        reading = {name: value for name, value in self.reading.items() if value is not None}
        self.log.info("%s is scored with %s %s.", self.data_uri, self.model, release.version)
        return {
            **self.parameters,
            "data_uri": self.data_uri.strip(),
            "output_uri": self._folder_uri,
            "model_name": self.model,
            "model_version": release.version,
            "archive_uri": candidate.archive.file_uri,
            "archive_sha256": archive_sha256,
            "reading": reading | ({"text_column": columns} if columns else {}),
            "allowed_sources": allowed_sources,
            "allowed_outputs": allowed_outputs,
            "workers": int(self.workers),
            "shard_rows": int(self.shard_rows),
            **self.step_resources,
        }

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger has found out, and tell how many rows have a prediction."""
        run_id = super().execute_complete(context, event)
        uri = f"{self._folder_uri}/{PREDICTIONS}"
        try:
            found = Predictions.parse(read_text(uri, conn_id=self.store_conn_id), where=uri)
        except (ServiceUnavailableError, InvalidRequestError, DocumentError, ImportError) as error:
            # Steps may have rights that Airflow has not; the run has succeeded all the same.
            self.log.warning("The predictions are made, and cannot be read from here: %s", error)
            return run_id
        self.log.info(
            "%s of %s rows have a prediction by %s %s, %s were rejected: %s",
            *(f"{found.predicted:,}", f"{found.rows:,}", found.model, found.version, f"{found.rejected:,}", uri),
        )
        told = {"version": found.version, "rows": found.rows, "predicted": found.predicted, "rejected": found.rejected}
        context["ti"].xcom_push(xcoms.PREDICTIONS, {"uri": self._folder_uri, **told})
        return run_id

    def _refuse(self, allowed_sources: Sequence[str], allowed_outputs: Sequence[str]) -> None:
        data = self.data_uri.strip()
        found = [] if data else ["The data is empty: name a file or a folder."]
        if secrets_of(data):
            found.append("The address of the data holds a user, password or signature: give it to the steps otherwise.")
        elif data:
            found += refusals([data], allowed_sources)
        # What is written is never trusted for being written as it is.
        found += filter(None, [refused_output(self._folder_uri if self.output_uri.strip() else "", allowed_outputs)])
        if found:
            raise InvalidRequestError(" ".join(found))

    def _chosen(self, registry: RegistryService) -> str:
        """Return the version: that with which the output was begun, the named one, or what is live."""
        asked = str(self.version).strip()
        if asked != LIVE and not _VERSION.fullmatch(asked):
            raise InvalidRequestError(f"version {asked!r} is neither 14 digits nor `{LIVE}`.")
        plan = self._plan()
        if plan is not None and asked in (LIVE, plan.version) and plan.model == self.model:
            self.log.info("%s was begun with version %s, and is gone on with.", self._folder_uri, plan.version)
            return plan.version
        if asked != LIVE:
            return asked
        live = find_live(patient(get_serving_service(self.serving_conn_id)), registry, self.model)
        if live is None:
            raise InvalidRequestError(f"No version of {self.model} is live: release one, or name a version.")
        return live.version

    def _plan(self) -> Plan | None:
        uri = f"{self._folder_uri}/{PLAN}"
        try:
            return Plan.parse(read_text(uri, conn_id=self.store_conn_id), where=uri)
        except DocumentError as error:
            raise InvalidRequestError(f"{error} Choose an empty folder.") from None
        except (ServiceUnavailableError, ImportError) as error:
            # Not there yet, as a rule; the pipeline itself refuses a folder with other predictions.
            self.log.debug("There is no plan that can be read from here: %s", error)
            return None

    def _release(self, registry: RegistryService, version: str) -> Release:
        release = registry.get_release(self.model, version)
        if release is None:
            known = ", ".join(each.version for each in registry.list_releases(self.model, limit=10))
            raise InvalidRequestError(
                f"{self.model} {version} is not in the registry; the newest there are {known or 'none'}."
            )
        if when := release.facts.get(ARCHIVE_DELETED_AT):
            raise InvalidRequestError(
                f"{self.model} {version} cannot score: its archive was deleted at {when} (`retention`). Name a "
                "newer one."
            )
        return release


def _as_list(given: Sequence[str] | str) -> list[str]:
    """Return what is a list, or JSON of one."""
    return [str(each) for each in (json.loads(given or "[]") if isinstance(given, str) else given)]
