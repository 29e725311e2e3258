"""A double of a Kubernetes cluster: an API server on loopback whose pods run as processes of this machine."""

from tests.doubles.kubernetes.clock import Lags
from tests.doubles.kubernetes.cluster import Cluster, cluster
from tests.doubles.kubernetes.kserve import Behaviour, FakeModels, KServe, KServeSettings
from tests.doubles.kubernetes.programs import Image
from tests.doubles.kubernetes.real import RealCluster, double_or_real

__all__ = [
    "Behaviour",
    "Cluster",
    "FakeModels",
    "Image",
    "KServe",
    "KServeSettings",
    "Lags",
    "RealCluster",
    "cluster",
    "double_or_real",
]
