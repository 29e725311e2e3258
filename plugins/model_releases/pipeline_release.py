"""The tasks of a release up to the gate, where a pipeline of anybody's makes the model: check, train, collect, gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Param

from kubeflow_provider.operators.pipelines import RunPipelineOperator
from model_releases import ids
from model_releases.config import KubeflowModelConfig
from model_releases.operators.candidates.collect import CollectCandidateOperator
from model_releases.operators.gate import GateOperator
from model_releases.operators.pre_execute.sealed import RefuseSealed
from model_releases.release_check import add_check

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def form(config: KubeflowModelConfig) -> dict[str, Param]:
    """Return a field of the trigger form for each parameter of the pipeline."""
    return {
        name: Param(value, type=_TYPES[type(value)], section="Pipeline", title=name, description=config.pipeline_name)
        for name, value in config.parameters.items()
    }


def parameters(config: KubeflowModelConfig) -> dict[str, str]:
    """Return templates of what the pipeline is given: what the form says."""
    return {
        name: f"{{{{ params.{name} }}}}" if isinstance(value, str) else f"{{{{ params.{name} | tojson }}}}"
        for name, value in config.parameters.items()
    }


def add_candidate_tasks(config: KubeflowModelConfig, *, asked: str, version: str) -> BaseOperator:
    """Add the tasks to the DAG of the present context, which has the ``default_args`` of a release; return the gate.

    :param asked: template of the version that the run asks for.
    :param version: template of the version that it has claimed.
    """
    folder = f"{config.store_uri}/{version}"
    live_version = f"{{{{ ti.xcom_pull('{ids.CHECK}')['live_version'] }}}}"
    registry_conn_id = config.connection("registry")
    run: dict[str, Any] = {**config.pipeline_arguments, "parameters": parameters(config)}
    writes = RefuseSealed(model=config.name, version=version, registry_conn_id=registry_conn_id, writes=True)

    check = add_check(config, asked=asked, data="{}", **run)  # no rows are counted
    train = RunPipelineOperator(
        task_id="train",
        pre_execute=writes,
        display_name=f"{config.name} {version}",
        experiment=config.name,
        outputs_uri=f"{folder}/outputs/{{run_id}}.json",  # a pipeline with a parameter of this name is told
        outputs_conn_id=config.store_conn_id,
        timeout=timedelta(hours=config.training_timeout_hours),
        cluster=config.cluster.model_dump(mode="json"),
        **run,
    )
    collect = CollectCandidateOperator(
        task_id="collect",
        pre_execute=writes,
        candidate_sha256=None,  # it writes what the gate finds it out of
        folder_uri=folder,
        pipeline=config.pipeline_name,
        parameters=sorted(config.parameters),
        live_version=live_version,
        outputs=config.outputs,
        metrics=config.metrics,
        predictor=config.predictor,
        smoke_test=config.smoke_test,
        confidence=config.gate.confidence,
        model_sources=config.model_sources,
    )
    gate = GateOperator(
        task_id=ids.GATE,
        candidate_sha256=None,  # it is what finds it out
        policy=config.policy.model_dump(),
        live_at_start=live_version,
    )
    check >> train >> collect >> gate
    return gate
