"""The services of one machine, behind the provider's protocols: pipelines without Kubernetes, and TorchServe."""
