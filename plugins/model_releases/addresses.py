"""Keeps what is secret of the addresses of data and models out of what Airflow shows, and out of pods."""

from __future__ import annotations

import json
from collections.abc import Iterable

from airflow.sdk.log import mask_secret

from include.contracts.rules.addresses import secrets_of, without_secrets
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import PipelineService


def mask(addresses: Iterable[str]) -> None:
    """Have Airflow blot out what is secret of them in the log and the rendered fields of this task.

    Where they were written, in the run's configuration and in a model's YAML, they stay as they are.
    """
    secrets = (secret for address in addresses for secret in secrets_of(address))
    for secret in secrets:
        # As it stands in a JSON document, too.
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            mask_secret(form)


def with_secrets(addresses: Iterable[str]) -> str:
    """Return the names of those that have a secret, with commas between; empty: there are none."""
    return ", ".join(dict.fromkeys(without_secrets(address) for address in addresses if secrets_of(address)))


def refuse_shown(pipelines: PipelineService, names: str) -> None:
    """Refuse to hand over addresses with secrets where others could read them.

    :param names: of :func:`with_secrets`.
    :raises InvalidRequestError: when what the pipeline service runs shows its arguments.
    """
    if names and pipelines.shows_arguments:
        raise InvalidRequestError(
            f"{names}: a password or signature in an address would stand in the arguments of a pod, where whoever may "
            "look at it reads it. Name the file without (s3://, gs://, az://) and give the credentials as "
            "`cluster.secrets`, or put a copy of it into the model store."
        )
