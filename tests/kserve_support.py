"""A KServe to release models on: the double in either mode, or a real cluster."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.exceptions import KubeflowProviderError
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.services import Deployment, ModelVersion
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes import Cluster, cluster
from tests.doubles.kubernetes.kserve import Behaviour, FakeModels, KServeSettings
from tests.doubles.kubernetes.resources import CONFIG_MAPS
from tests.rights import SERVING, rights
from tests.serving_support import GOOD, build_version
from tests.waiting import wait_for

IMAGE = "kubeflow-model-release:test"
RUNTIME = "kubeflow-model-release"
NAMESPACE = "models"


class QuickHook(KServeHook):
    """A hook that waits seconds where a real cluster is given minutes."""

    patience = Patience(grace_seconds=3, restarts=2, route_seconds=6)
    poll_seconds = 0.1
    put_back_seconds = 30
    delete_seconds = 20


@dataclass
class KServeWorld:
    """A hook, and the cluster behind it.

    :param k8s: the double.
    :param models: what the pods answer; a test can break a version.
    """

    hook: KServeHook
    k8s: Cluster
    models: FakeModels
    connection: Connection

    def build(self, model: str, version: str, behaviour: str = "sound") -> ModelVersion:
        """Publish a version that behaves in a way that the toy model knows."""
        if behaviour == "does not load":
            self.models.behave(version, Behaviour.CRASH)
        else:
            assert behaviour == "sound"
        return version_of(model, version)


def version_of(model: str, version: str, **kserve: Any) -> ModelVersion:
    """Return a version whose archive lies where the double's pods find it."""
    return ModelVersion(
        model=model,
        version=version,
        archive_uri=f"s3://models/{model}/{version}/package",
        archive_sha256=version.ljust(64, "0"),
        settings={"workers": 1, "kserve": {"runtime": RUNTIME, **kserve}},
    )


def kserve_connection(folder: Path, k8s: Cluster, **extra: Any) -> Connection:
    """Return a connection to the double; predictions go through its gateway unless ``door`` says otherwise."""
    kubernetes = k8s.connection_variable(folder / "kubeconfig")
    os.environ["AIRFLOW_CONN_KUBERNETES_TEST"] = kubernetes
    fields = {"namespace": NAMESPACE, "kubernetes_conn_id": "kubernetes_test", "door": "gateway", **extra}
    return Connection(conn_id="serving_test", conn_type="kserve", host=k8s.kserve.gateway_url, extra=json.dumps(fields))


@contextmanager
def kserve(
    folder: Path,
    *,
    settings: KServeSettings | None = None,
    speed: float = 20.0,
    claims: Mapping[str, Path] | None = None,
    **extra: Any,
) -> Iterator[KServeWorld]:
    """Yield a hook on a double of its own.

    :param settings: of the KServe that is installed.
    :param speed: of the cluster's clock.
    :param claims: folders that stand for claims.
    :param extra: fields of the connection.
    """
    settings = settings or KServeSettings()
    models = FakeModels()
    with cluster(
        images={IMAGE: models}, namespace=NAMESPACE, kserve=settings, speed=speed, claims=dict(claims or {})
    ) as k8s:
        k8s.kserve.add_runtime(RUNTIME, IMAGE)
        install_config(k8s, settings)
        k8s.faults.allow_only(rights(*SERVING))
        conn = kserve_connection(folder, k8s, **extra)
        try:
            yield KServeWorld(hook=QuickHook("serving_test", connection=conn), k8s=k8s, models=models, connection=conn)
        finally:
            os.environ.pop("AIRFLOW_CONN_KUBERNETES_TEST", None)


def real_kserve() -> tuple[KServeHook, Callable[[str, str, str], ModelVersion]]:
    """Return a hook on a real cluster, and what publishes a version for it.

    The namespace needs ``deploy/serving-runtime.yaml``. Variables: ``KSERVE_KUBECONFIG``, ``KSERVE_NAMESPACE``,
    ``KSERVE_DOOR`` (default ``service_proxy``), ``KSERVE_HOST`` (for the doors that need it), ``KSERVE_STORE_FOLDER``
    (where this machine puts packages), ``KSERVE_STORE_URI`` (the same place for the pods, for example ``pvc://models``)
    and ``KSERVE_MODE`` (``knative`` or ``standard``; by default the cluster's). With ``KSERVE_STORE=s3`` packages are
    copied to ``KSERVE_S3_STORE``, which pods read with ``KSERVE_S3_SERVICE_ACCOUNT``.
    """
    environ = os.environ
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": environ["KSERVE_KUBECONFIG"]}}
    environ["AIRFLOW_CONN_KUBERNETES_REAL"] = json.dumps(kubernetes)
    fields = {
        "namespace": environ.get("KSERVE_NAMESPACE", NAMESPACE),
        "kubernetes_conn_id": "kubernetes_real",
        "door": environ.get("KSERVE_DOOR", "service_proxy"),
    }
    conn = Connection(
        conn_id="serving_test", conn_type="kserve", host=environ.get("KSERVE_HOST"), extra=json.dumps(fields)
    )
    store = Path(environ["KSERVE_STORE_FOLDER"])
    bucket = environ["KSERVE_S3_STORE"] if environ.get("KSERVE_STORE") == "s3" else ""
    settings: dict[str, Any] = {
        "runtime": RUNTIME,
        "storage": {store.as_uri(): bucket or environ["KSERVE_STORE_URI"]},
        "deployment_mode": environ.get("KSERVE_MODE", "detect"),
    }
    if bucket:
        settings["service_account"] = environ["KSERVE_S3_SERVICE_ACCOUNT"]

    def build(model: str, version: str, behaviour: str) -> ModelVersion:
        built = build_version(store, version, behaviour=behaviour, model=model)
        if bucket:
            import fsspec

            place = f"{model}/{version}"
            fsspec.filesystem("s3").put(f"{store / place}/", f"{bucket}/{place}/", recursive=True)
        return replace(built, settings={**built.settings, "kserve": settings})

    return KServeHook("serving_test", connection=conn), build


def forget_model(hook: KServeHook, model: str) -> None:
    """Delete a model's InferenceServices."""
    for name in (model, f"{model}-candidate"):
        hook._delete(name)


def settled(hook: KServeHook, model: str, version: str) -> Deployment:
    """Wait until a version is READY or FAILED, as the trigger does, and return it."""
    found: list[Deployment] = []

    def is_settled() -> bool:
        deployment = hook.get_deployment(model, version)
        assert deployment is not None, f"{model} {version} is not deployed"
        found[:] = [deployment]
        return deployment.state is not DeploymentState.PENDING

    wait_for(is_settled, lambda: f"the end of {found}", pause=0.1)
    return found[0]


def release(hook: KServeHook, model: str, version: str, **settings: Any) -> None:
    """Do what the tasks of a release do."""
    go_live(hook, version_of(model, version, **settings))


def go_live(hook: KServeHook, candidate: ModelVersion) -> None:
    """Do what the tasks of a release do, with a version that was built."""
    model, version = candidate.model, candidate.version
    hook.deploy_candidate(candidate)
    _assert_ready(settled(hook, model, version))
    if hook.can_split_traffic(model):
        hook.shift_traffic(model, version, 50)
        _assert_ready(settled(hook, model, version))
    hook.promote(model, version)
    _assert_ready(settled(hook, model, version))


def _assert_ready(deployment: Deployment) -> None:
    assert deployment.state is DeploymentState.READY, deployment.reason


class Users:
    """Somebody who asks for predictions all the time, until the block ends.

    :param hook: has the door that they use.
    :param model: what they ask.
    """

    def __init__(self, hook: KServeHook, model: str) -> None:
        self.answers: Counter[str] = Counter()
        self._hook, self._model = hook, model
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stop.wait(0.01):
            try:
                answer = self._hook.predict(self._model, GOOD)
            except KubeflowProviderError as error:
                self.answers[str(error)] += 1
                continue
            is_good = answer.status_code == 200
            self.answers["good" if is_good else f"{answer.status_code} {answer.body}"] += 1

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


def install_config(k8s: Cluster, settings: KServeSettings) -> None:
    """KServe's own configuration, as its manifests install it."""
    k8s.add_namespace("kserve")
    data = {
        "deploy": json.dumps({"defaultDeploymentMode": settings.default_mode}),
        "ingress": json.dumps({"enableGatewayApi": settings.gateway_api, "ingressDomain": settings.domain}),
        "storageInitializer": json.dumps({"image": f"kserve/storage-initializer:v{settings.version}"}),
    }
    k8s.store.create(CONFIG_MAPS, {"metadata": {"name": "inferenceservice-config"}, "data": data}, "kserve")
