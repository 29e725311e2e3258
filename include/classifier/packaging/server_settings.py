"""What TorchServe is told about a model: in the archive, and in the ``config.properties`` that a server starts with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from include.classifier.serving.protocol import MAX_ANSWER_BYTES

#: What TorchServe calls the settings of a model's workers, in the order in which they are written.
WORKERS = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout")

#: That Java's integers hold, about.
_LARGEST_NUMBER = 2_000_000_000


def worker_settings(serving: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a model is served, in TorchServe's words.

    :param serving: the settings of ``ModelConfig.serving``.
    """
    from include.contracts.settings import ServingConfig  # A server that starts has no use for it, and no time.

    settings = ServingConfig.model_validate(dict(serving))
    return {
        "minWorkers": settings.workers,
        "maxWorkers": settings.workers,
        "batchSize": settings.batch_size,
        "maxBatchDelay": settings.max_batch_delay_ms,
        "responseTimeout": settings.response_timeout_seconds,
    }


def settings_of(given: Mapping[str, Any]) -> dict[str, int]:
    """Return how an archive is served: as its model-config.yaml says, and in what that leaves open, as by default."""
    if not given.keys() >= set(WORKERS):
        given = worker_settings({}) | dict(given)
    return {name: int(given[name]) for name in WORKERS}


def server_config(model: str, version: str, serving: Mapping[str, Any]) -> str:
    """Return the ``config.properties`` that stands beside the archive.

    :param serving: the settings of ``ModelConfig.serving``.
    """
    return config_of(model, version, worker_settings(serving))


def config_of(model: str, version: str, workers: Mapping[str, Any]) -> str:
    """Return the ``config.properties`` of a server with one model.

    KServe's wrapper takes the model's name from ``model_snapshot``, passes predictions on to port 8085, asks the
    management API from within the pod, and has the ports 8080 and 8081 itself. Settings from the environment come first
    (``enable_envvars_config``), so that a runtime can choose others.

    :param workers: as :func:`worker_settings` returns them.
    """
    how = {"defaultVersion": True, "marName": f"{model}.mar", **workers}
    snapshot = {"name": "startup.cfg", "modelCount": 1, "models": {model: {version: how}}}
    lines = {
        "inference_address": "http://0.0.0.0:8085",
        # Whoever reaches it loads code.
        "management_address": "http://127.0.0.1:8086",
        "metrics_address": "http://0.0.0.0:8082",
        "grpc_inference_port": "7070",
        "grpc_management_port": "7071",
        "enable_envvars_config": "true",
        "install_py_dep_per_model": "false",
        # KServe's wrapper polls without a token and would never find the model ready.
        "disable_token_authorization": "true",
        "metrics_mode": "prometheus",
        # Requests that were joined come back from the worker in one piece.
        "max_response_size": str(min((workers["batchSize"] + 1) * MAX_ANSWER_BYTES, _LARGEST_NUMBER)),
        "model_store": "/mnt/models/model-store",
        "model_snapshot": json.dumps(snapshot, sort_keys=True, separators=(",", ":")),
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())
