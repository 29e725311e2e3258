"""KServe, installed in the double of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.doubles.kubernetes.kserve.controller import KServeController
from tests.doubles.kubernetes.kserve.definitions import (
    CLUSTER_RUNTIMES,
    KNATIVE_SERVICES,
    RUNTIMES,
    SERVICES,
    definitions,
)
from tests.doubles.kubernetes.kserve.gateway import Gateway
from tests.doubles.kubernetes.kserve.models import Sidecar, StorageInitializer
from tests.doubles.kubernetes.kserve.settings import KServeSettings
from tests.doubles.kubernetes.kserve.templates import CONTAINER, INITIALIZER_IMAGE, QUEUE_PROXY_IMAGE
from tests.doubles.kubernetes.kserve.webhook import webhook
from tests.doubles.kubernetes.kserve.world import World
from tests.doubles.kubernetes.resources import DEFINITIONS
from tests.doubles.kubernetes.store import Object

if TYPE_CHECKING:
    from tests.doubles.kubernetes.cluster import Cluster


class KServe:
    """CRDs, webhooks, a controller and a gateway.

    :ivar gateway_url: where requests from outside go, with the ``Host`` of ``status.url``.
    :ivar storage: the init container that downloads models; a test can call URIs broken.
    """

    def __init__(self, cluster: Cluster, settings: KServeSettings) -> None:
        self.settings = settings
        self.storage = StorageInitializer()
        self._store = cluster.store
        self._namespace = cluster.namespace
        self._store.resources += [SERVICES, RUNTIMES, CLUSTER_RUNTIMES]
        self._store.resources += [KNATIVE_SERVICES] if settings.knative else []
        for definition in definitions(settings.version):
            self._store.create(DEFINITIONS, definition)
        self._store.admissions.append(webhook(settings))
        cluster.add_image(INITIALIZER_IMAGE, self.storage)
        cluster.add_image(QUEUE_PROXY_IMAGE, Sidecar())
        self.world = World(cluster.store, cluster.clock, cluster.lags, cluster.kubelet, settings)
        self.gateway = Gateway(self.world)
        cluster.server.endpoints = self.world.endpoint
        cluster.controllers.append(KServeController(self.world).reconcile)

    @property
    def gateway_url(self) -> str:
        return self.gateway.url

    def start(self) -> None:
        self.gateway.start()

    def stop(self) -> None:
        self.gateway.stop()

    def add_runtime(self, name: str, image: str, *, formats: tuple[str, ...] = ("pytorch",), **container: Any) -> None:
        """Make a ServingRuntime in the tests' namespace.

        :param container: further fields of its container.
        """
        runtime = {
            "metadata": {"name": name},
            "spec": {
                "supportedModelFormats": [{"name": entry, "version": "1", "autoSelect": True} for entry in formats],
                "protocolVersions": ["v1", "v2"],
                "containers": [{"name": CONTAINER, "image": image, **container}],
            },
        }
        self._store.create(RUNTIMES, runtime, self._namespace)

    def service(self, name: str) -> Object:
        """Return an InferenceService of the tests' namespace as it is now."""
        return self._store.get(SERVICES, self._namespace, name)
