"""A whole cluster on this machine, for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.doubles.kubernetes.access import ClusterAccess
from tests.doubles.kubernetes.api import complete
from tests.doubles.kubernetes.clock import Clock, Lags
from tests.doubles.kubernetes.controllers import ControllerManager
from tests.doubles.kubernetes.deployments import DeploymentController
from tests.doubles.kubernetes.errors import forbidden
from tests.doubles.kubernetes.faults import Faults
from tests.doubles.kubernetes.kserve import KServe, KServeSettings
from tests.doubles.kubernetes.kubelet import Kubelet
from tests.doubles.kubernetes.programs import Image, Program
from tests.doubles.kubernetes.resources import CLAIMS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from tests.doubles.kubernetes.server import ApiServer
from tests.doubles.kubernetes.store import Store


class Cluster(ClusterAccess):
    """API server, controllers and node. Make one with :func:`cluster`.

    :ivar url: of the API server.
    :ivar namespace: the one that tests work in; exists, with its service account ``default``.
    :ivar faults: troubles to inject.
    :ivar kserve: what is installed of KServe.
    :ivar store: the objects, to look at or to change behind the clients' back.
    """

    is_double = True

    def __init__(
        self,
        *,
        images: Mapping[str, Program | Path | str] | None = None,
        claims: Mapping[str, Path] | None = None,
        namespace: str = "models",
        token: str = "",
        speed: float = 10.0,
        lags: Lags | None = None,
        kserve: KServeSettings | None = None,
    ) -> None:
        self.namespace = namespace
        self.clock = Clock(speed)
        self.lags = lags or Lags()
        self.faults = Faults()
        self.store = Store()
        self.token = token
        self.claims: dict[str, Path] = dict(claims or {})
        self.kubelet = Kubelet(
            store=self.store, clock=self.clock, lags=self.lags, faults=self.faults, images={}, claims=self.claims
        )
        for image, program in (images or {}).items():
            self.add_image(image, program)
        self.server = ApiServer(
            store=self.store, clock=self.clock, faults=self.faults, kubelet=self.kubelet, token=token
        )
        self.controllers = [DeploymentController(self.store, self.clock, self.lags).reconcile]
        self._manager = ControllerManager(self.store, self.clock, self.controllers)
        self.store.admissions.append(complete(self.store))
        self.store.admissions.append(self._quota)
        for name in ("default", "kube-system", namespace):
            self.add_namespace(name)
        for claim in self.claims:
            self.add_claim(claim)
        self._kserve = KServe(self, kserve) if kserve else None

    @property
    def kserve(self) -> KServe:
        assert self._kserve is not None, "this cluster was made without KServe"
        return self._kserve

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self.server.start()
        self.kubelet.start()
        self._manager.start()
        if self._kserve:
            self._kserve.start()

    def stop(self) -> None:
        self.clock.stop()
        with self.store.changed:
            self.store.changed.notify_all()
        self._manager.stop()
        if self._kserve:
            self._kserve.stop()
        self.kubelet.stop()
        self.server.stop()

    @property
    def gateway_url(self) -> str:
        return self.kserve.gateway_url

    # For clients

    def kubeconfig(self, path: Path) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": self.token} if self.token else {}}],
            "contexts": [
                {"name": "double", "context": {"cluster": "double", "user": "tester", "namespace": self.namespace}}
            ],
        }
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def api_client(self) -> Any:
        from kubernetes import client

        configuration = client.Configuration(host=self.url)
        if self.token:
            configuration.api_key = {"authorization": f"Bearer {self.token}"}
        return client.ApiClient(configuration)

    # What stands in the cluster

    def add_image(self, name: str, program: Program | Path | str) -> None:
        """Make an image known: a program, or a folder that comes first in ``PATH``."""
        self.kubelet.images[name] = Image(program) if isinstance(program, (str, Path)) else program

    def add_namespace(self, name: str) -> None:
        self.store.create(NAMESPACES, {"metadata": {"name": name}})
        self.add_service_account("default", namespace=name)

    def add_service_account(self, name: str, *, namespace: str = "") -> None:
        self.store.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, namespace or self.namespace)

    def add_claim(self, name: str, folder: Path | None = None) -> None:
        """Make a PersistentVolumeClaim that a folder stands for."""
        if folder is not None:
            self.claims[name] = folder
        claim = {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Bound"}}
        self.store.create(CLAIMS, claim, self.namespace)

    def add_secret(self, name: str, values: Mapping[str, str]) -> None:
        self.store.create(SECRETS, {"metadata": {"name": name}, "stringData": dict(values)}, self.namespace)

    def pods(self, namespace: str = "") -> list[dict[str, Any]]:
        """Return the pods of a namespace, by default of the tests' one."""
        return self.store.entries(PODS, namespace or self.namespace)

    # What happens to it

    def drop_watches(self) -> None:
        """Cut every open watch."""
        self.server.watches.cut()

    def compact(self) -> None:
        """Forget the history: a watch from an older resource version gets a 410."""
        self.store.compact()

    def _quota(self, resource: Resource, new: dict[str, Any], old: dict[str, Any] | None) -> None:
        if resource == PODS and old is None:
            name = new["metadata"]["name"]
            if message := self.faults.of_pod("over_quota", name):
                raise forbidden(PODS, name, message)


@contextmanager
def cluster(**settings: Any) -> Iterator[Cluster]:
    """Yield a running :class:`Cluster` made with these settings; end everything in it afterwards.

    :param images: for each image that can be pulled, the folder of programs (or the ``Program``) it stands for.
    :param claims: for each PersistentVolumeClaim, the folder it stands for.
    :param namespace: the one that tests work in, default ``models``.
    :param token: bearer token that clients must send; none by default.
    :param speed: of the cluster's clock, default 10 times real time.
    :param lags: how long things take, see :class:`Lags`.
    :param kserve: the KServe that is installed; none by default.
    """
    made = Cluster(**settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()
