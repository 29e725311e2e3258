"""What waits in Airflow's triggerer."""

from pkgutil import extend_path

# With the old names below ``kubeflow_provider/_moved``.
__path__ = extend_path(__path__, __name__)
