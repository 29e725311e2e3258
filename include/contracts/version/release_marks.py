"""How a release marks an InferenceService: the same whether Airflow or a pipeline has made it.

So each knows the other's releases, and a team that moves over keeps its models. The names are those of
``kubeflow_provider.hooks._kserve.record``, which cannot import this module; ``tests/contract`` holds them together with
both at work on one cluster. They cross releases: never rename one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREFIX = "kubeflow-provider"

# Labels of the predictor, and so of its pods.
VERSION_LABEL = f"{_PREFIX}/version"
MODEL_LABEL = f"{_PREFIX}/model"

# Annotations of the predictor.
ARCHIVE_URI = f"{_PREFIX}/archive-uri"
ARCHIVE_SHA256 = f"{_PREFIX}/archive-sha256"
PREVIOUS_VERSION = f"{_PREFIX}/previous-version"
STABLE_VERSION = f"{_PREFIX}/stable-version"
REPLACES_REVISION = f"{_PREFIX}/replaces-revision"
SINCE = f"{_PREFIX}/since"

#: Label of the InferenceService.
MANAGED_BY = {"app.kubernetes.io/managed-by": "airflow-provider-kubeflow"}

#: Annotation of predictors that pipelines of version 0.1.0 have made; read until the version after next.
OLD_VERSION = "kubeflow-model-release/version"

#: Variable of the pod: it serves this archive or none.
ARCHIVE_SHA256_VARIABLE = "ARCHIVE_SHA256"


def released_version(predictor: Mapping[str, Any]) -> str:
    """Return the version whose predictor this is; empty for one that no release has made."""
    labels, annotations = predictor.get("labels") or {}, predictor.get("annotations") or {}
    return str(labels.get(VERSION_LABEL) or annotations.get(OLD_VERSION) or "")
