"""What the weekly DAGs over every model share: when a task is tried again, and the form that chooses one model."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowSkipException

from model_releases.config import ModelConfig
from model_releases.exceptions import RETRY_POLICY
from model_releases.memory.failures import remember_failure


def default_arguments() -> dict[str, Any]:
    """Return the ``default_args`` of such a DAG."""
    return {
        "owner": "ml-platform",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": remember_failure,
    }


def model_field(configs: Iterable[ModelConfig]) -> Param:
    """Return the field ``model`` of the form; :func:`skip_unless_chosen` goes by it."""
    names = [config.name for config in configs]
    return Param("", type="string", enum=["", *names], title="Model", description="Empty: all of them.")


def skip_unless_chosen(context: Context) -> None:
    """Leave out the models that the form did not choose: ``pre_execute`` of a task that has a ``model``."""
    chosen = context["params"]["model"]
    if chosen and chosen != getattr(context["task"], "model", None):
        raise AirflowSkipException(f"Only {chosen} was asked for.")
