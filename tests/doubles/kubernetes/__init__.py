"""A double of a Kubernetes cluster with KServe: an API server on loopback whose pods really run on this machine.

::

    with cluster(images={"release:1.0": ".venv/pipelines/bin"}, claims={"models": folder}) as k8s:
        connection = k8s.connection(tmp_path / "kubeconfig")       # of the type kubernetes, for Airflow
        k8s.faults.unschedulable("train-*")                        # what only a double can be asked for

    models = FakeModels()
    with cluster(images={"serving:1.0": models}, kserve=KServeSettings(version="0.20.0")) as k8s:
        k8s.kserve.add_runtime("torchserve", "serving:1.0")
        models.behave("20260202000000", Behaviour.CRASH)           # the version in the storage URI
        httpx.post(k8s.gateway_url + "/v1/models/m:predict", headers={"Host": "m-models.example.com"}, ...)

``double_or_real`` gives the cluster of ``KSERVE_KUBECONFIG`` instead, where there is one (``real.py``).

The clients are the real ones: ``kubernetes``, ``kubernetes_asyncio``, Airflow's provider, ``kubectl`` (without OpenAPI
validation). What is odd about the double is odd about the real thing:

Kubernetes
    - ``api.py``, ``store.py``: resource versions and 409, a write that changes nothing is none, finalizers, garbage
      collection, the status that only its subresource changes, pages; the words of refusals.
    - ``managed_fields.py``: server-side apply, conflicts between managers. Lists are atomic.
    - ``watching.py``: selectors make objects enter and leave a watch; a version that is too old is an ERROR event
      in a 200; bookmarks; watches can be cut.
    - ``pod_run.py``, ``pod_status.py``: a missing claim is FailedScheduling, a missing secret volume FailedMount, a
      missing variable's secret CreateContainerConfigError, and all three heal; images that cannot be pulled,
      CrashLoopBackOff, OOMKilled, deadlines, termination messages, grace periods.
    - ``deployments.py``: rolling updates, ReplicaFailure, ProgressDeadlineExceeded.

KServe (facts on KServe: sections 1 to 4)
    - ``definitions.py``: fields by version (0.15 to 0.21); unknown ones are dropped in silence.
    - ``webhook.py``, ``controller.py``: mode names by version and the lock-outs of 0.16 and 0.19.0; the mode is fixed;
      ``spec.canary`` in Standard mode only; a bad storage URI passes admission and is only an event.
    - ``controller.py``: status lags behind the specification, so that an old Ready=True greets a new one;
      ``observedGeneration`` is another object's.
    - ``knative.py``: revisions, ``canaryTrafficPercent``, tags, going back one level after a promotion; Ready is
      Unknown while a new revision starts, False when it fails, and the old one serves on.
    - ``standard.py``: ``canaryTrafficPercent`` is ignored; Ready stays True while an update fails; canary predictors
      from 0.20 on, with traffic from 0.21 on and through a Gateway only; none at 0 % without ``minReplicas``.
    - ``model_status.py``: only crashes and failed downloads are seen, and in Standard mode no crash either as long as
      the Deployment stays what it was; ``lastFailureInfo`` is never cleared.
    - ``templates.py``: a runtime's container is a template over the service's name; without one that fits InvalidSpec.
    - ``format_server.py``: a server of formats knows its model by the service's name and no version of it, and answers
      500 to rows that do not fit.
    - ``gateway.py``: hosts, tags and path template; 404, then 503, for a while after Ready; weights; login page.

What it does not do: exec and attach, scale to zero, autoscaling, several nodes, rules of networks and of RBAC
(``faults.forbid`` refuses by verb and resource). File systems are not isolated: mount paths in commands, arguments and
variables are replaced by the folders that stand for the volumes.
"""

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
