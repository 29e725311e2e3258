"""The first task of a release, whatever kind of model it is: what can be known before compute is spent."""

from __future__ import annotations

from typing import Any

from model_releases import ids
from model_releases.config import ModelConfig
from model_releases.operators.check import CheckReleaseOperator
from model_releases.operators.pre_execute.schedule_limits import ReleaseBrakes


def add_check(config: ModelConfig, *, asked: str, data: str, **arguments: Any) -> CheckReleaseOperator:
    """Add the task to the DAG of the present context, which has the ``default_args`` of a release.

    :param asked: template of the version that the run asks for.
    :param data: template of the data whose new rows are counted, ``{}`` where there are none to count.
    :param arguments: of the operator, that the kind of model has: the pipeline and what it is given.
    """
    cluster = config.cluster.model_dump(mode="json")
    return CheckReleaseOperator(
        task_id=ids.CHECK,
        pre_execute=ReleaseBrakes(
            schedule=config.schedule,
            model=config.name,
            data=data,
            store_uri=config.store_uri,
            cluster=cluster,
            pipelines_conn_id=config.connection("pipelines"),
            registry_conn_id=config.connection("registry"),
            store_conn_id=config.store_conn_id,
        ),
        inlets=config.release_assets,
        version=asked,
        candidate_uri=None,
        candidate_sha256=None,
        store_uri=config.store_uri,
        cluster=cluster,
        settings=config.serving_settings,
        **arguments,
    )
