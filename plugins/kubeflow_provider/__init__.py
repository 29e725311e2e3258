"""Airflow provider for Kubeflow: run pipelines, and serve models with KServe."""

from pathlib import Path

__version__ = "0.1.0"

# Modules that have moved are found by their old names, where that folder is: the wheel has none.
_moved = Path(__path__[0], "_moved")
if _moved.is_dir():
    __path__.append(str(_moved))
