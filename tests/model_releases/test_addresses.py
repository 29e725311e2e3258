"""What is secret of a source's address is neither shown by Airflow nor given to a pod."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.log import redact

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from local_services.pipelines.hook import LocalPipelinesHook
from model_releases.addresses import mask, refuse_shown, with_secrets

SOURCES = [
    'https://me:a-"hidden"-é@h/a.csv',
    "https://h/b.csv?sig=hidden%2Bhidden",
    "s3://AKIA0123456789:hidden+/w@bucket/c.csv",
    "/data/d.csv",
]


def test_airflow_blots_out_what_is_secret_in_whatever_dress() -> None:
    mask(SOURCES)
    rendered = {"data": json.dumps({"train": SOURCES}), "again": json.dumps(SOURCES, ensure_ascii=False)}
    for text in (rendered, SOURCES, "wrong: hidden+hidden", "wrong: hidden+/w", 'wrong: a-"hidden"-é'):
        assert "hidden" not in str(redact(text)), text  # type: ignore[type-var]
    assert "/data/d.csv" in str(redact(str(rendered)))


def test_addresses_with_a_secret_are_named_without() -> None:
    names = "https://h/a.csv, https://h/b.csv, s3://bucket/c.csv"
    assert with_secrets([*SOURCES, "https://h/e.csv?download=true", SOURCES[0]]) == names
    assert with_secrets(["hub:owner/name", "scratch", "*"]) == ""


@pytest.mark.parametrize(
    ("names", "service", "is_refused"),
    [
        ("https://h/a.csv", KubeflowPipelinesHook, True),
        ("", KubeflowPipelinesHook, False),
        ("https://h/a.csv", LocalPipelinesHook, False),
    ],
)
def test_no_pod_is_given_one(names: str, service: Any, is_refused: bool) -> None:
    pipelines: Any = SimpleNamespace(shows_arguments=service.shows_arguments)
    if not is_refused:
        refuse_shown(pipelines, names)
        return
    with pytest.raises(InvalidRequestError, match=r"^https://h/a\.csv: .*`cluster\.secrets`"):
        refuse_shown(pipelines, names)
