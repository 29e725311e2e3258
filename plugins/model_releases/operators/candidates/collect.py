"""Makes a candidate of what a pipeline has made that knows nothing of releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.kubeflow_settings import MetricConfig, OutputsConfig, PredictorConfig, RequestsConfig
from include.contracts.rules.addresses import without_secrets
from include.contracts.version.files import reason_of, write_file
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.links import XCOM_OUTPUTS, XCOM_RUN_ID
from kubeflow_provider.run_outputs import ArtifactService
from model_releases.kinds.kubeflow_model import collecting, pipeline_document, predictions
from model_releases.memory.candidate import read_text
from model_releases.memory.published_model import PACKAGE_FOLDER, connection_for, copy_model, refuse_elsewhere
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.sdk import Context

    from model_releases.registry.service import Release


class CollectCandidateOperator(ReleaseStep):
    """Copy the model that a run has left into the version's folder, and write ``candidate.json`` from its outputs.

    What only a cluster reads (``hf://``, ``oci://``) is not copied; its address must stand for one content for good.

    The digests of what was copied stand in the document: the gate, the approval and the serving system insist on them,
    whatever becomes of the artifacts of the run. Safe to repeat.

    :param folder_uri: folder of the version in the model store (templated).
    :param pipeline: which pipeline has made it, for the record.
    :param parameters: names of the form's fields that it was given.
    :param live_version: version that was live when the release began, empty for none (templated): the candidate's
        metrics are compared with what the registry has of it.
    :param outputs: which outputs of the run are what.
    :param metrics: what is read of its metrics.
    :param predictor: what serves it.
    :param smoke_test: what it has to answer.
    :param confidence: of the intervals of metrics that are compared with the live version row by row.
    :param model_sources: where the pipeline may leave the model, besides the artifacts of its run.
    :param pipeline_task_id: the task that ran the pipeline.
    :param pipelines_conn_id: connection to the pipeline service.
    :raises InvalidRequestError: when an output is missing, or the model is not what one can be.
    :raises ServiceUnavailableError: when it cannot be read, or the store cannot be written.
    """

    template_fields = (*ReleaseStep.template_fields, "folder_uri", "live_version")
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        folder_uri: str,
        pipeline: str,
        parameters: Sequence[str],
        live_version: str,
        outputs: OutputsConfig,
        metrics: Sequence[MetricConfig],
        predictor: PredictorConfig,
        smoke_test: RequestsConfig,
        confidence: float = 0.95,
        model_sources: Sequence[str] = (),
        pipeline_task_id: str = "train",
        pipelines_conn_id: str = "pipelines_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder_uri = folder_uri
        self.pipeline = pipeline
        self.parameters = parameters
        self.live_version = live_version
        self.outputs = outputs
        self.metrics = metrics
        self.predictor = predictor
        self.smoke_test = smoke_test
        self.confidence = confidence
        self.model_sources = model_sources
        self.pipeline_task_id = pipeline_task_id
        self.pipelines_conn_id = pipelines_conn_id

    def execute(self, context: Context) -> str:
        """Collect it, and return the digest of the model."""
        ti = context["ti"]
        run_id = ti.xcom_pull(self.pipeline_task_id, key=XCOM_RUN_ID)
        if not run_id:
            raise InvalidRequestError(f"The task {self.pipeline_task_id} has left no run: clear it.")
        outputs: Mapping[str, Any] = ti.xcom_pull(self.pipeline_task_id, key=XCOM_OUTPUTS) or {}
        sources = [*self.model_sources, *self._artifacts(str(run_id))]
        told = pipeline_document.told(outputs, self.outputs, self.smoke_test, lambda uri: self._document(uri, sources))
        uri = collecting.model_uri(told.outputs, told.asked)
        refuse_elsewhere(uri, sources)
        found = self._predictions(told, sources)
        live = self._live()
        computed = predictions.figures_of(found, self.metrics) if found else {}
        metrics = collecting.measured(
            told.outputs, told.asked, self.metrics, live.facts if live else None, computed=computed
        )
        served, files = copy_model(
            uri, self.folder_uri, run_id=str(run_id), file_name=self.outputs.model_file, conn_id=self.store_conn_id
        )
        digest = collecting.digest_of(served, files)
        pipeline_document.insist_on_what_was_made(digest, files, told.model_sha256)
        pairing = self._paired(found, live, digest)
        metrics = collecting.with_pairing(metrics, pairing.live)
        text = collecting.document(
            model=self.model,
            version=self.version,
            uri=served,
            files=files,
            made_by={
                "run_id": str(run_id),
                "pipeline": self.pipeline,
                "parameters": {name: context["params"][name] for name in self.parameters},
                "model_uri": without_secrets(uri),
            },
            metrics=metrics,
            live_version=self.live_version or None,
            evidence={
                "predictions": self._kept(found, served if files else f"{self.folder_uri}/{PACKAGE_FOLDER}"),
                "comparison": pairing.comparison,
                "not_comparable": pairing.reason,
            },
            predictor=self.predictor,
            smoke_test=told.smoke_test,
            where=str(self.candidate_uri),
        )
        self._write(text)
        words = ", ".join(f"{metric['name']} {metric['value']:.6g}" for metric in metrics)
        how = f"{len(files)} file(s) copied to" if files else "served as it is from"
        self.log.info("%s %s: %s %s; %s.", self.model, self.version, how, served, words)
        return self.read_candidate().archive.sha256

    def _artifacts(self, run_id: str) -> list[str]:
        service = get_pipeline_service(self.pipelines_conn_id)
        return [service.artifacts_uri(run_id)] if isinstance(service, ArtifactService) else []

    def _document(self, uri: str, sources: Sequence[str]) -> str:
        refuse_elsewhere(uri, sources, what="document")
        return read_text(uri, conn_id=connection_for(uri, self.folder_uri, self.store_conn_id))

    def _predictions(self, told: pipeline_document.Told, sources: Sequence[str]) -> Mapping[str, Any] | None:
        uri = collecting.predictions_uri(told.outputs, told.asked)
        if uri is None:
            return None
        refuse_elsewhere(uri, sources, what="predictions")
        return predictions.read_predictions(uri, store_uri=self.folder_uri, conn_id=self.store_conn_id)

    def _kept(self, found: Mapping[str, Any] | None, served: str) -> dict[str, Any] | None:
        """Keep what was predicted beside the model that is served."""
        if found is None:
            return None
        return predictions.keep(found, served.rpartition("/")[0], conn_id=self.store_conn_id)

    def _paired(self, found: Mapping[str, Any] | None, live: Release | None, model_sha256: str) -> predictions.Pairing:
        if found is None or live is None:
            return predictions.Pairing()
        uri = f"{self.folder_uri.rpartition('/')[0]}/{live.version}/{KubeflowModelCandidate.file}"
        before = predictions.read_live(live, uri, conn_id=self.store_conn_id)
        if before is None:
            return predictions.Pairing(reason=f"live {live.version} was of another kind, or its candidate.json is gone")
        return predictions.pair(
            found,
            before,
            self.metrics,
            model_sha256=model_sha256,
            confidence=self.confidence,
            conn_id=self.store_conn_id,
        )

    def _live(self) -> Release | None:
        if not self.live_version:
            return None
        release = self.registry_service().get_release(self.model, self.live_version)
        if release is None:
            self.log.warning("The registry knows no %s %s: nothing to compare with.", self.model, self.live_version)
        return release

    def _write(self, text: str) -> None:
        from airflow.sdk import ObjectStoragePath

        path = ObjectStoragePath(str(self.candidate_uri), conn_id=self.store_conn_id or None)
        try:
            write_file(path.fs, path.path, text.encode())
        except OSError as error:
            raise ServiceUnavailableError(f"{self.candidate_uri} cannot be written: {reason_of(error)}.") from error
