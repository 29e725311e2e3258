"""Modules of version 0.1.0 by their old names: Airflow's database, compose files and DAGs of users hold them.

This folder belongs to the package's path (``kubeflow_provider/__init__.py``), so that ``kubeflow_provider.alerts`` is
found here. It is not in the wheel, whose users never knew these names, and goes in the version after next.
"""
