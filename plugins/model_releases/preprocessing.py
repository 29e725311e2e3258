"""The task that makes a text classifier's data set, for a release and for a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from include.models import PROJECT_DIR
from kubeflow_provider.operators.modules import RunModuleOperator
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from model_releases.addresses import with_secrets
from model_releases.config import TextClassifierConfig

_IN_PARTS = str(PROJECT_DIR / "include" / "pipelines" / "preprocess_in_parts.yaml")


def preprocess_task(
    config: TextClassifierConfig,
    *,
    folder_uri: str,
    data: str,
    seed: str,
    queries_uri: str,
    display_name: str,
    pre_execute: Callable[[Context], None],
    **arguments: Any,
) -> BaseOperator:
    """Add the task to the DAG of the present context, which has the macros that it names.

    With ``data.parallel_files`` above one it is a pipeline that reads the files side by side.

    :param folder_uri: folder that the data set is written below (template).
    :param data: the data settings as JSON (template).
    :param seed: of what is split off (template).
    :param queries_uri: folder with the rows of queries (template).
    :param display_name: what the run of a pipeline is called (template).
    :param arguments: of the operator.
    """
    request = {
        "data": data,
        "output_uri": f"{folder_uri}/dataset",
        "allowed_sources": "{{ allowed_sources() }}",
        "as_of": "{{ as_of(dag_run) }}",
        "timezone": config.schedule.timezone,
        "queries_uri": queries_uri if config.data.queries else "",
        "requests_uri": config.store_uri if config.data.labelled_requests else "",
    }
    if config.data.parallel_files > 1:
        return RunPipelineOperator(
            task_id="preprocess",
            pre_execute=pre_execute,
            pipeline_file=_IN_PARTS,
            parameters={
                "request": request,
                "model_name": config.name,
                "parts": config.data.parallel_files,
                "seed": seed,
                "cpu": config.resources.cpu,
                "memory": config.resources.memory,
            },
            display_name=display_name,
            experiment=config.name,
            # Its steps are the training's.
            cluster=config.cluster.model_dump(mode="json", exclude={"steps"}),
            timeout=timedelta(hours=config.training_timeout_hours),
            **arguments,
        )
    return RunModuleOperator(
        task_id="preprocess",
        pre_execute=pre_execute,
        module="include.classifier.preprocess",
        arguments={name.replace("_", "-"): value for name, value in request.items()}
        | {"model": config.name, "seed": seed},
        cluster=config.cluster.model_dump(mode="json"),
        **arguments,
    )


def refused_side_by_side(config: TextClassifierConfig, sources: Sequence[str]) -> list[str]:
    """Return what keeps sources from being read side by side, in sentences; empty: nothing."""
    if config.data.parallel_files == 1 or not (shown := with_secrets(sources)):
        return []
    return [
        f"{shown}: a password or signature in an address would stand in the parameters of the steps that read side by "
        "side. Name the file without, or set `data.parallel_files` to 1."
    ]
