"""The last words of a step: from the UI's server, the API server or the cluster, whichever has them first."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from kubeflow_provider.exceptions import KubeflowProviderError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.pods import RunPods
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.hooks._kubeflow_pipelines.steps import labelled_pods, read_steps
from kubeflow_provider.http.client import HttpClient, Patience
from kubeflow_provider.http.settings import HttpSettings

log = logging.getLogger(__name__)

# What Kubeflow's launcher, the SDK's executor and Argo write around a step's own output.
_NOISE = re.compile(r"^\s*([IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ .*|\[KFP Executor .*|time=\S+ level=\w+ .*|[-=\s]*)$")
_INPUT = re.compile(
    r"^\s*\[KFP Executor .*Got executor_input:\n(?P<indent>\s*)\{\n(.*\n)*?(?P=indent)\}\n", re.MULTILINE
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_LONGEST_LINE = 1000
_MOST_BYTES = 256 * 1024
_MOST_LINES = 200
_LONGEST_REASON = 500

#: The server's name in messages.
SERVICE = "Kubeflow Pipelines"


def reason_of_failure(document: Mapping[str, Any], logs: StepLogs) -> str:
    """Return in one line why a run failed; the API says little of it."""
    told = read_steps(document)
    if told.not_started:
        said = f" ({told.message})" if told.message else ""
        reason = (
            f"Step {told.not_started!r} could not be started: its driver failed{said}, which points to its inputs, to "
            "a parameter, or to Kubeflow's metadata store"
        )
    elif told.failed:
        last_words = logs.tail(document, 1).strip()
        reason = f"Step {told.failed!r} failed: {last_words or told.message or 'its log is gone'}"
    elif message := document.get("error", {}).get("message") or told.message:
        reason = str(message)
    elif told.is_complete:
        reason = "no step failed: it was stopped from outside"
    else:
        where = f"-l pipeline/runid={document['run_id']}"
        reason = f"Kubeflow names no step that failed; its workflow may say why (kubectl describe workflow {where})"
    return reason[:_LONGEST_REASON]


class StepLogs:
    """Finds what the failed step of a run has said, or the newest step where none failed.

    :param api_client: of the API server.
    :param ui_client: of the UI's server, ``None`` when its address is unknown.
    :param settings: namespace and cluster.
    :param namespace: what multi-user servers want to be told.
    """

    def __init__(
        self,
        *,
        api_client: HttpClient,
        ui_client: HttpClient | None,
        settings: PipelinesSettings,
        namespace: str | None,
    ) -> None:
        self._api_client = api_client
        self._ui_client = ui_client
        self._settings = settings
        self._namespace = namespace

    @classmethod
    def of(cls, http: HttpSettings, auth: httpx.Auth | None, settings: PipelinesSettings) -> StepLogs:
        """Return the logs of a server that a connection leads to.

        :param http: how to reach it.
        :param auth: proves who is asking, to the connection's host only.
        """
        # One attempt: a log is welcome, but nothing waits for it.
        patience = Patience(attempts=1)
        ui_client = None
        if ui_url := settings.ui_url:
            is_same = urlsplit(ui_url)[:2] == urlsplit(http.base_url)[:2]
            ui_settings = replace(http, base_url=ui_url) if is_same else replace(http, base_url=ui_url, headers={})
            ui_auth = auth if is_same else None
            ui_client = HttpClient(ui_settings, ui_auth, service=f"{SERVICE} UI", patience=patience)
        return cls(
            api_client=HttpClient(http, auth, service=SERVICE, patience=patience),
            ui_client=ui_client,
            settings=settings,
            namespace=settings.namespace,
        )

    def tail(self, document: Mapping[str, Any], last_lines: int) -> str:
        """Return the last lines, empty when nobody has them any more.

        :param document: the run as the API shows it.
        """
        for text in self._sources(document):
            if lines := own_lines(text):
                return "\n".join(lines[-last_lines:])
        return ""

    def _sources(self, document: Mapping[str, Any]) -> Iterator[str]:
        run_id, pods = document["run_id"], read_steps(document).pods
        yield from self._of_pods(document, pods)
        # Kubeflow names a pod with labels or annotations after their number, which only the pipeline tells.
        if pods and "tasks" not in document and (labelled := labelled_pods(pods, self._platform(document))):
            yield from self._of_pods(document, labelled)
        yield RunPods(self._settings).log(run_id, last_lines=_MOST_LINES, most_bytes=_MOST_BYTES)

    def _of_pods(self, document: Mapping[str, Any], pods: Sequence[str]) -> Iterator[str]:
        run_id = document["run_id"]
        if self._ui_client is not None:
            created = document.get("created_at", "")[:10]
            for pod in pods:
                call = api.get_pod_log(run_id=run_id, pod_name=pod, namespace=self._namespace, created=created)
                yield self._ask(call, self._ui_client)
        for pod in pods:
            yield _without_error(self._ask(api.get_node_log(run_id=run_id, pod_name=pod), self._api_client))

    def _platform(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the platform spec of a run's pipeline; empty where nobody gives it."""
        spec = document.get("pipeline_spec")
        if spec is None and (reference := document.get("pipeline_version_reference")):
            try:
                call = api.get_version(reference["pipeline_id"], reference["pipeline_version_id"])
                spec = call.send(self._api_client).get("pipeline_spec")
            except (KubeflowProviderError, KeyError) as error:
                log.debug("The pipeline of run %s is not to be had: %s", document["run_id"], error)
        platform: Mapping[str, Any] = (spec or {}).get("platform_spec") or {}
        return platform

    def _ask(self, call: api.Call, client: HttpClient) -> str:
        try:
            text: str = call.send(client)
        except KubeflowProviderError as error:
            log.debug("No log at %s: %s", call.path, error)
            return ""
        return text


def own_lines(text: str) -> list[str]:
    """Return what the step itself has said, or everything where it said nothing."""
    text = _INPUT.sub("", _COLOUR.sub("", text[-_MOST_BYTES:]))
    lines = [line.rstrip()[:_LONGEST_LINE] for line in text.splitlines()]
    return [line for line in lines if not _NOISE.match(line)] or [line for line in lines if line]


def _without_error(text: str) -> str:
    """Return the log without the error that the API server puts at its end, after it has said 200."""
    start = text.rfind('{"error_message"')
    if start < 0:
        return text
    try:
        json.loads(text[start:])
    except ValueError:
        return text
    return text[:start]
