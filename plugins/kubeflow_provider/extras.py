"""What can be left out of an installation, and what to say to those who need it after all."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from kubeflow_provider.exceptions import InvalidRequestError

#: Extra of the package -> a module that it brings.
_BRINGS = {"kubernetes": "airflow.providers.cncf.kubernetes", "openlineage": "airflow.providers.openlineage"}
_NAMES = {"kubernetes": "Kubernetes", "openlineage": "OpenLineage"}


@cache
def is_installed(extra: str) -> bool:
    """Say whether what an extra brings is there, whoever has brought it."""
    try:
        return find_spec(_BRINGS[extra]) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False


def need(extra: str, what: str) -> None:
    """Go on only where an extra is installed.

    :param extra: name of the extra.
    :param what: is wanted of it; begins the message: "To make a token".
    :raises InvalidRequestError: when it is not.
    """
    if not is_installed(extra):
        raise InvalidRequestError(
            f"{what}, Airflow's provider for {_NAMES[extra]} is needed, and not installed here: "
            f"pip install 'airflow-provider-kubeflow[{extra}]', wherever tasks and triggers run."
        )
