"""Is :mod:`kubeflow_provider.triggers.deployments`; tasks that were deferred before the upgrade look here."""

from kubeflow_provider.triggers.deployments import DeploymentTrigger

__all__ = ["DeploymentTrigger"]
