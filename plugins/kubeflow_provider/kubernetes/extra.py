"""Airflow's provider for Kubernetes can be left out of an installation; what to say to those who need it after all."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from kubeflow_provider.exceptions import InvalidRequestError

_MODULE = "airflow.providers.cncf.kubernetes"


@cache
def is_installed() -> bool:
    """Say whether the provider is there, whoever has brought it."""
    try:
        return find_spec(_MODULE) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False


def need_kubernetes(what: str) -> None:
    """Go on only where the provider is installed.

    :param what: is wanted of it; begins the message: "To make a token".
    :raises InvalidRequestError: when it is not.
    """
    if not is_installed():
        raise InvalidRequestError(
            f"{what}, Airflow's provider for Kubernetes is needed, and not installed here: "
            "pip install 'airflow-provider-kubeflow[kubernetes]', wherever tasks and triggers run."
        )
