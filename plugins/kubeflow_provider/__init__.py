"""Airflow provider for Kubeflow: run pipelines, and release the models they train, safely."""

__version__ = "0.1.0"
