"""A double of a Kubernetes cluster: an API server on loopback whose pods run as processes of this machine."""

from tests.doubles.kubernetes.clock import Lags
from tests.doubles.kubernetes.cluster import Cluster, cluster
from tests.doubles.kubernetes.programs import Image

__all__ = ["Cluster", "Image", "Lags", "cluster"]
