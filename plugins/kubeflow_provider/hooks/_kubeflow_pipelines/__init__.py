"""What the hook of Kubeflow Pipelines is made of."""
