"""Leaves what a run has made in its task's XCom."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.links import XCOM_OUTPUTS
from kubeflow_provider.pipelines.outputs import place_of, read_written
from kubeflow_provider.pipelines.reading import shown
from kubeflow_provider.run_outputs import merged, names_of

log = logging.getLogger(__name__)


def leave_outputs(context: Mapping[str, Any], outputs: Mapping[str, Any] | None) -> None:
    """Push a run's outputs, see :mod:`kubeflow_provider.run_outputs`; nothing where there are none."""
    if outputs:
        context["ti"].xcom_push(XCOM_OUTPUTS, dict(outputs))


def collect_outputs(
    event: Mapping[str, Any],
    *,
    outputs_uri: str | None,
    conn_id: str | None = None,
    required: Collection[str] = (),
) -> dict[str, Any]:
    """Return what a run that has succeeded has made.

    :param event: of its trigger.
    :param outputs_uri: where the run itself writes them; ``None`` when it does not.
    :param conn_id: Airflow connection of what keeps them there, where it needs one.
    :param required: names of outputs that there must be, see :func:`kubeflow_provider.run_outputs.names_of`.
    :raises InvalidRequestError: when one of them is missing, or what the run has written cannot be read as outputs.
    :raises PermissionDeniedError: when nobody lets us read what it has written.
    :raises ServiceUnavailableError: when its keeper is away; the next try reads it and starts nothing.
    """
    run_id: str = event["run_id"]
    written = None
    if outputs_uri:
        place = place_of(outputs_uri, event.get("asked_for", run_id))
        written = read_written(place, conn_id=conn_id)
        if written is None and not event.get("outputs"):
            log.warning("Pipeline run %s has succeeded and has written no outputs at %s.", run_id, shown(place))
    outputs = merged(event.get("outputs"), written)
    names = names_of(outputs)
    if missing := [name for name in required if name not in names]:
        raise InvalidRequestError(
            f"Pipeline run {run_id} has succeeded without {', '.join(missing)} among its outputs; they are "
            f"{', '.join(sorted(names)) or 'none'}. Kubeflow Pipelines tells them from 3.0 on; for any other let the "
            "pipeline write them, and say where with `outputs_uri`."
        )
    return outputs
