"""A double of Kubeflow Trainer 2 on the double of a cluster, and of the Training Operator 1 before it.

::

    nodes = FakeNodes()
    with cluster(images={"training:1": nodes}) as k8s:
        trainer = Trainer(k8s, version="2.3")
        trainer.add_runtime("release-training")
        nodes.ends[1] = 3                       # the pod of rank 1 exits with 3

What is odd about it is odd about the real one, whose documents ``tests/captured/trainer`` has of 2.1.0 and 2.3.0:

- ``definitions.py``: fields by version, under one version string; unknown ones are dropped in silence, unless a request
  says ``fieldValidation=Strict``.
- ``webhooks.py``: a runtime that is not there is a 403, as a missing right is; ``PET_*`` is refused; a bad name is 422,
  one of 52 to 63 characters is taken.
- ``controllers.py``: there is no condition before the end; ``jobsStatus`` counts Jobs and not pods, and is all nought
  between restarts; nothing says why a job failed; Failed comes when the last pod is gone; the survivors are deleted; a
  resumed job keeps ``Suspended``; a deadline leaves a stale status; a JobSet that somebody deletes is made again.

What it does not do: initializers, MPI, gang scheduling, names in DNS (``master_address`` stands for those).
"""

from tests.doubles.trainer.controllers import Trainer
from tests.doubles.trainer.nodes import FakeNodes
from tests.doubles.trainer.training_operator import TrainingOperator

__all__ = ["FakeNodes", "Trainer", "TrainingOperator"]
