"""What a cluster has: each fact is an empty text where it holds, else the reason why not, with what to set or do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

#: Of deploy/serving-runtime.yaml.
RUNTIME = "kubeflow-model-release"

_SECONDS = 30.0
_OF_A_RELEASE = ("RELEASE_STORE_URI", "RELEASE_VOLUME", "RELEASE_TRACKING_URI")
_CONNECTIONS = ("PIPELINES_DEFAULT", "SERVING_DEFAULT", "REGISTRY_DEFAULT")
#: Behind a gateway with a login the health page is refused as well.
_REFUSED_TOKEN = "KFP_TOKEN is refused: it needs --audience pipelines.kubeflow.org, and may be over"


class Facts:
    """Looks at the cluster that an environment leads to, once for each fact.

    :param environment: the variables that the tests read.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: dict[str, str] = {}

    def lacking(self, name: str) -> str:
        """Return why a fact does not hold, empty where it does."""
        if name not in self._known:
            looks: dict[str, Callable[[], str]] = {
                "kubeflow": self._kubeflow,
                "token": lambda: self._unset("KFP_TOKEN", "KFP_NAMESPACE"),
                "login": lambda: self._unset("KFP_LOGIN_ENDPOINT", "KFP_USER", "KFP_PASSWORD"),
                "kserve": self._kserve,
                "package": lambda: self._unset("KSERVE_PACKAGE", "KSERVE_NOTHING"),
                "knative": self._knative,
                "ingress": lambda: self._gateway(is_api=False),
                "gateway api": lambda: self._gateway(is_api=True),
                "s3": self._s3,
                "volume": lambda: self._unset("KFP_IMAGE", *_OF_A_RELEASE),
                "airflow": self._airflow,
            }
            self._known[name] = looks[name]()
        return self._known[name]

    def _unset(self, *names: str) -> str:
        missing = [name for name in names if not self._environment.get(name)]
        return f"set {', '.join(missing)}" if missing else ""

    def _kubeflow(self) -> str:
        if missing := self._unset("KFP_ENDPOINT"):
            return missing
        url, token = self._environment["KFP_ENDPOINT"], self._environment.get("KFP_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS) as client:
                health = client.get("/apis/v2beta1/healthz")
                if health.status_code == 401:
                    return _REFUSED_TOKEN
                if health.status_code != 200:
                    return f"{url}/apis/v2beta1/healthz answers {health.status_code}: is that the API's address?"
                is_multi_user = bool(health.json().get("multi_user"))
                if is_multi_user and (missing := self._unset("KFP_NAMESPACE")):
                    return f"this Kubeflow has profiles: {missing}"
                query = {"namespace": self._environment["KFP_NAMESPACE"]} if is_multi_user else {}
                runs = client.get("/apis/v2beta1/runs", params={"page_size": "1", **query})
        except (httpx.HTTPError, ValueError) as error:
            return f"{url} does not answer as Kubeflow Pipelines does: {type(error).__name__}"
        if runs.status_code == 401:
            return _REFUSED_TOKEN
        if runs.status_code == 403:
            return f"KFP_TOKEN may not list runs in {query.get('namespace')}: apply deploy/pipelines-rbac.yaml"
        return "" if runs.status_code == 200 else f"runs cannot be listed: {url} answers {runs.status_code}"

    @cached_property
    def _api(self) -> Any:
        from kubernetes import config

        return config.new_client_from_config(self._environment["KSERVE_KUBECONFIG"])

    def _kserve(self) -> str:
        if missing := self._unset("KSERVE_KUBECONFIG", "KSERVE_STORE_FOLDER", "KSERVE_STORE_URI"):
            return missing
        for name in ("KSERVE_KUBECONFIG", "KSERVE_STORE_FOLDER"):
            if not Path(self._environment[name]).exists():
                return f"{name}: {self._environment[name]} is not there"
        from kubernetes.client import CustomObjectsApi

        namespace = self._environment.get("KSERVE_NAMESPACE", "models")
        asked = (namespace, "servingruntimes", RUNTIME)
        objects = CustomObjectsApi(self._api)
        return self._refusal(
            lambda: objects.list_namespaced_custom_object(
                "serving.kserve.io", "v1beta1", namespace, "inferenceservices", _request_timeout=_SECONDS
            ),
            {
                404: "the cluster has no KServe: kubectl get crd inferenceservices.serving.kserve.io",
                403: f"InferenceServices of {namespace} may not be listed: apply deploy/kserve/rbac.yaml",
            },
        ) or self._refusal(
            lambda: objects.get_namespaced_custom_object(
                "serving.kserve.io", "v1alpha1", *asked, _request_timeout=_SECONDS
            ),
            {404: f"{namespace} has no ServingRuntime {RUNTIME}: apply deploy/serving-runtime.yaml"},
            passing=(403,),
        )

    def _refusal(self, ask: Callable[[], Any], known: Mapping[int, str], *, passing: tuple[int, ...] = ()) -> str:
        """Return why a question to the cluster is refused; what is refused with a status of ``passing`` is not."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            ask()
        except ApiException as error:
            if error.status in passing:
                return ""
            return known.get(error.status, f"the Kubernetes API answers {error.status} {error.reason}")
        except (HTTPError, OSError) as error:
            return f"the Kubernetes API does not answer: {type(error).__name__}"
        return ""

    def _knative(self) -> str:
        if lacking := self.lacking("kserve"):
            return lacking
        from kubernetes.client import ApisApi

        groups = {group.name for group in ApisApi(self._api).get_api_versions().groups}
        return "" if "serving.knative.dev" in groups else "the cluster has no Knative Serving"

    def _gateway(self, *, is_api: bool) -> str:
        if lacking := self.lacking("kserve") or self._unset("KSERVE_HOST"):
            return lacking
        from kubeflow_provider.hooks._kserve.capabilities import read_capabilities

        found = read_capabilities(None, self._config()).gateway_api
        if is_api and not found:
            return "KServe does not make routes of the Gateway API here (enableGatewayApi in inferenceservice-config)"
        return "KServe makes routes of the Gateway API here and no ingresses" if found and not is_api else ""

    def _config(self) -> dict[str, Any] | None:
        from kubernetes.client import ApiException, CoreV1Api

        for namespace in ("kserve", "kubeflow"):
            try:
                config = CoreV1Api(self._api).read_namespaced_config_map("inferenceservice-config", namespace)
            except ApiException:
                continue
            return {"data": config.data}
        return None

    def _s3(self) -> str:
        if lacking := self.lacking("kserve") or self._unset("KSERVE_S3_STORE", "KSERVE_S3_SERVICE_ACCOUNT"):
            return lacking
        return "" if find_spec("s3fs") else "the package s3fs is not installed in .venv/airflow"

    def _airflow(self) -> str:
        return self._unset("RELEASE_MODEL", *(f"AIRFLOW_CONN_{name}" for name in _CONNECTIONS))
