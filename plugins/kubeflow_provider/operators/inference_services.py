"""Applies, asks and deletes InferenceServices of KServe, whatever they serve."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import yaml
from airflow.sdk import Context

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.kubernetes.inference_service import (
    Predictor,
    inference_service,
    predictor_spec,
    read_manifest,
)
from kubeflow_provider.operators._waiting import OnKServe, WaitingOperator, check_gone, check_ready
from kubeflow_provider.outages import patient, wait_out
from kubeflow_provider.services import Answer
from kubeflow_provider.triggers.inference_services import Until

#: XCom of :class:`PredictOperator` with an answer that was not the expected one. DAGs read it: never rename.
XCOM_ANSWER = "answer"

_PREDICTION_PAUSE_SECONDS = 2.0


class ApplyInferenceServiceOperator(WaitingOperator):
    """Make an InferenceService, or change it to what is given, and wait until it is ready.

    Ready is what was applied, not what answered before: the newest revision has pods that are ready, and its part of
    the traffic. What cannot become ready (an image that is not there, a crash again and again) fails the task at once,
    with the reason and the last log lines of the pod.

    Server-side apply as ``airflow-provider-kubeflow``, safe to repeat: what a task applied before and leaves out now
    goes, fields that others set stay theirs. One that others have made, or a release, is left alone without ``force``.

    The return value is ``name``, ``namespace``, ``generation``, ``state`` and ``url``.

    :param name: of the InferenceService. With a manifest that has one it may be left out. Templated.
    :param predictor: what serves: a :class:`~kubeflow_provider.kubernetes.inference_service.Predictor`, or a mapping
        of its fields. Templated.
    :param manifest: instead of a predictor: the whole InferenceService, as a mapping or as YAML. Templated.
    :param canary_percent: part of the traffic for this predictor while the one before has the rest, 0 to 100; left out,
        it gets all. Knative mode. Templated.
    :param canaries: entries of ``spec.canary`` in KServe's own form: Standard mode with KServe 0.20 (without traffic)
        or 0.21 (with the Gateway API). Templated.
    :param labels: of the InferenceService, and so of its pods. Templated.
    :param annotations: likewise. Templated.
    :param deployment_mode: of one that is new: ``knative`` or ``standard``; ``detect``: the cluster's default.
    :param force: take it over from whoever has made it, with the fields that others have set.
    :param kserve_conn_id: Airflow connection, of type ``kserve``. Templated.
    :param wait_for_completion: ``False`` ends the task as soon as Kubernetes has taken it.
    :param timeout: how long is waited; it stays as it is afterwards.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions, in seconds.
    :param max_poll_errors: so many failed questions in a row fail the task.
    """

    template_fields: Sequence[str] = (
        *("name", "predictor", "manifest", "canary_percent", "canaries", "labels", "annotations", "kserve_conn_id"),
    )
    template_fields_renderers = {"predictor": "json", "manifest": "json", "canaries": "json"}
    ui_color = "#e6dcf5"

    def __init__(
        self,
        *,
        name: str | None = None,
        predictor: Predictor | Mapping[str, Any] | str | None = None,
        manifest: Mapping[str, Any] | str | None = None,
        canary_percent: int | str | None = None,
        canaries: Sequence[Mapping[str, Any]] | str | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        deployment_mode: Literal["detect", "knative", "standard"] = "detect",
        force: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (predictor is None) is (manifest is None):
            raise ValueError("exactly one of predictor and manifest says what is applied")
        if predictor is not None and name is None:
            raise ValueError("a predictor needs the `name` of its InferenceService")
        if isinstance(predictor, Predictor):
            predictor = predictor.model_dump(mode="json", exclude_unset=True)
        self.name = name
        self.predictor = predictor
        self.manifest = manifest
        self.canary_percent = canary_percent
        self.canaries = canaries
        self.labels = labels or {}
        self.annotations = annotations or {}
        self.deployment_mode = deployment_mode
        self.force = force

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply it, then wait or defer."""
        hook = self.hook()
        services = patient(hook.inference_services)
        wanted = self._wanted(services.namespace)
        applied = services.apply(wanted, deployment_mode=self.deployment_mode, force=self.force)
        self.log.info("InferenceService %s is applied, generation %s.", applied.name, applied.generation)
        if not self.wait_for_completion:
            facts = {"generation": applied.generation, "state": applied.state.value, "url": applied.url}
            return {"name": applied.name, "namespace": applied.namespace, **facts}
        return self.wait(context, hook, applied.name, Until.READY)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on with what the trigger has found out."""
        check_ready(event, timeout=self.timeout)
        self.log.info("InferenceService %s is ready at %s.", event["name"], event["url"])
        namespace = self.hook().inference_services.namespace
        return {"namespace": namespace, **{key: event[key] for key in ("name", "generation", "state", "url")}}

    def _wanted(self, namespace: str) -> dict[str, Any]:
        """Return the InferenceService to be applied.

        :raises InvalidRequestError: naming everything that is wrong with it, as far as no server needs to be asked.
        """
        canaries, percent = _list(self.canaries, "canaries"), _percent(self.canary_percent)
        if self.manifest is not None:
            made = read_manifest(_mapping(self.manifest, "manifest"), name=self.name, namespace=namespace)
            spec, metadata = made["spec"], made["metadata"]
            metadata |= {
                key: {**(metadata.get(key) or {}), **given}
                for key, given in (("labels", self.labels), ("annotations", self.annotations))
                if given
            }
            if percent is not None:
                spec["predictor"]["canaryTrafficPercent"] = percent
            if canaries:
                spec["canary"] = canaries
            return made
        predictor = predictor_spec(Predictor.from_mapping(_mapping(self.predictor, "predictor")))
        return inference_service(
            str(self.name),
            namespace,
            predictor,
            canary_percent=percent,
            canaries=canaries,
            labels=self.labels,
            annotations=self.annotations,
        )


class DeleteInferenceServiceOperator(WaitingOperator):
    """Delete an InferenceService, and wait until it is gone. Harmless when there is none.

    One that others have made, or a release, is left alone without ``force``.

    The return value says whether there was one.

    :param name: of the InferenceService. Templated.
    :param force: delete it whoever has made it.
    :param kserve_conn_id: Airflow connection, of type ``kserve``. Templated.
    :param wait_for_completion: ``False`` ends the task as soon as Kubernetes has taken it.
    :param timeout: how long is waited.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions, in seconds.
    :param max_poll_errors: so many failed questions in a row fail the task.
    """

    template_fields: Sequence[str] = ("name", "kserve_conn_id")
    ui_color = "#f3d9d9"

    def __init__(
        self, *, name: str, force: bool = False, timeout: timedelta = timedelta(minutes=10), **kwargs: Any
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self.name = name
        self.force = force

    def execute(self, context: Context) -> bool:
        """Delete it, then wait or defer."""
        hook = self.hook()
        was_there = patient(hook.inference_services).delete(self.name, force=self.force)
        if not was_there:
            self.log.info("There is no InferenceService %s.", self.name)
            return False
        self.log.info("InferenceService %s is being deleted.", self.name)
        return bool(self.wait(context, hook, self.name, Until.GONE)) if self.wait_for_completion else True

    def execute_complete(self, context: Context, event: dict[str, Any]) -> bool:
        """Go on with what the trigger has found out."""
        check_gone(event, timeout=self.timeout)
        self.log.info("InferenceService %s is gone.", event["name"])
        return True


class PredictOperator(OnKServe):
    """Send one request to an InferenceService by the door of its connection, and keep the answer.

    What leads there may learn of a service some seconds after it is ready: until ``timeout`` is over, a request that
    has reached nobody is sent again. Neither request nor answer is written to the log.

    The return value is ``status_code``, ``body`` (parsed JSON, or text) and ``latency_ms``. An answer with another
    status than the expected one is left as XCom ``answer``, and fails the task.

    :param name: of the InferenceService. Templated.
    :param body: of the request: JSON types, or JSON as text. Airflow shows it among the rendered fields. Templated.
    :param protocol: ``v1`` or ``v2`` (Open Inference Protocol). Default: that of the predictor, else ``v1``.
    :param model: name of the model in the path. Default: that of the InferenceService. Templated.
    :param path: instead of the protocol's, for example ``/openai/v1/chat/completions``. Templated.
    :param expected_status: HTTP status, or several.
    :param request_timeout_seconds: of one request.
    :param timeout: how long a request that reaches nobody is sent again.
    :param max_answer_bytes: a longer answer fails the task, because it would go into XCom.
    :param kserve_conn_id: Airflow connection, of type ``kserve``. Templated.
    """

    template_fields: Sequence[str] = ("name", "body", "model", "path", "kserve_conn_id")
    template_fields_renderers = {"body": "json"}
    ui_color = "#e6dcf5"

    def __init__(
        self,
        *,
        name: str,
        body: Any,
        protocol: Literal["v1", "v2"] | None = None,
        model: str | None = None,
        path: str | None = None,
        expected_status: int | Sequence[int] = 200,
        request_timeout_seconds: float = 30,
        timeout: timedelta = timedelta(minutes=2),
        max_answer_bytes: int = 48 * 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.body = body
        self.protocol = protocol
        self.model = model
        self.path = path
        self.expected_status = expected_status
        self.request_timeout_seconds = request_timeout_seconds
        self.timeout = timeout
        self.max_answer_bytes = max_answer_bytes

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, and return the answer."""
        if self.path and not self.path.startswith("/"):
            raise InvalidRequestError(f"`path` must begin with a slash, and is {self.path!r}.")
        answer = self._ask(_json(self.body))
        kept = {"status_code": answer.status_code, "body": answer.body, "latency_ms": round(answer.latency_ms, 1)}
        self.log.info("InferenceService %s answered %d in %.0f ms.", self.name, answer.status_code, answer.latency_ms)
        expected = [self.expected_status] if isinstance(self.expected_status, int) else [*self.expected_status]
        if answer.status_code in expected:
            return kept
        context["ti"].xcom_push(XCOM_ANSWER, kept)
        kind = ServiceUnavailableError if answer.status_code >= 500 else InvalidRequestError
        raise kind(
            f"InferenceService {self.name} answered {answer.status_code}, and {', '.join(map(str, expected))} was "
            f"expected. What it said is in the XCom `{XCOM_ANSWER}` of this task; the log of its pods may tell more.",
            http_status=answer.status_code,
        )

    def _ask(self, body: bytes) -> Answer:
        services = self.hook().inference_services
        until = time.monotonic() + self.timeout.total_seconds()
        while True:
            try:
                return wait_out(
                    lambda: services.predict(
                        self.name,
                        body,
                        protocol=self.protocol,
                        model=self.model,
                        path=self.path,
                        timeout_seconds=self.request_timeout_seconds,
                        max_answer_bytes=self.max_answer_bytes,
                    )
                )
            except ServiceUnavailableError as error:
                if error.was_sent or time.monotonic() + _PREDICTION_PAUSE_SECONDS > until:
                    raise
                self.log.info("Asking again in %.0f s: %s", _PREDICTION_PAUSE_SECONDS, error)
            time.sleep(_PREDICTION_PAUSE_SECONDS)


def _json(body: Any) -> bytes:
    """Return a request as it is sent. No message quotes it."""
    try:
        document = json.loads(body) if isinstance(body, str) else body
        return json.dumps(document, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"`body` is no JSON ({type(error).__name__}): give JSON types, or JSON as text."
        ) from None


def _mapping(given: Any, what: str) -> Mapping[str, Any]:
    read = _read(given, what)
    if not isinstance(read, Mapping):
        raise InvalidRequestError(f"`{what}` must be a mapping, and is {type(read).__name__}.")
    return read


def _list(given: Any, what: str) -> list[Any]:
    read = _read(given, what)
    if read is None:
        return []
    if isinstance(read, Mapping | str) or not all(isinstance(item, Mapping) for item in read):
        raise InvalidRequestError(f"`{what}` must be a list of mappings.")
    return list(read)


def _read(given: Any, what: str) -> Any:
    """Return what a template may have made text of."""
    if not isinstance(given, str):
        return given
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        # The parser quotes the text, which may hold what no log should.
        raise InvalidRequestError(f"`{what}` is text, but neither YAML nor JSON.") from None


def _percent(given: int | str | None) -> int | None:
    if given is None or str(given) in ("", "None"):
        return None
    try:
        percent = int(given)
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise InvalidRequestError(f"`canary_percent` must be a whole number from 0 to 100, and is {given!r}.")
    return percent
