"""The tasks of a release up to the gate, where a pipeline of anybody's makes the model: check, train, collect, gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Param

from include.contracts.form import schema_of
from include.contracts.kinds.kubeflow_settings import MetricConfig, PairedGateConfig
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from model_releases import ids
from model_releases.config import KubeflowModelConfig
from model_releases.operators.candidates.collect import CollectCandidateOperator
from model_releases.operators.gate import GateOperator
from model_releases.operators.pre_execute.sealed import RefuseSealed
from model_releases.release_check import add_check

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def form(config: KubeflowModelConfig) -> dict[str, Param]:
    """Return a field of the trigger form for each parameter of the pipeline, and for each number of the gate."""
    own = {
        name: Param(value, type=_TYPES[type(value)], section="Pipeline", title=name, description=config.pipeline_name)
        for name, value in config.parameters.items()
    }
    metrics = {metric.name: metric for metric in config.metrics}
    limits: dict[str, dict[str, Any]] = {"max_regression": {"minimum": 0}}
    bounds = {
        bound.field: Param(
            getattr(metrics[bound.metric], bound.setting),
            type=["number", "null"],
            section="Gate",
            title=f"{bound.metric}: {bound.setting}",
            description=MetricConfig.model_fields[bound.setting].description,
            **limits.get(bound.setting, {}),
        )
        for bound in config.bounds
    }
    when = schema_of(PairedGateConfig, "when_inconclusive")
    is_paired = any(metric.from_predictions for metric in config.metrics)
    inconclusive = Param(config.gate.when_inconclusive, section="Gate", **when)
    return own | bounds | ({"when_inconclusive": inconclusive} if is_paired else {})


def policy(config: KubeflowModelConfig) -> dict[str, Any]:
    """Return what the gate goes by, with templates of what the form says."""
    made = config.policy.model_dump()
    metrics = {metric["name"]: metric for metric in made["metrics"]}
    for bound in config.bounds:
        asked = f"params.{bound.field}"
        metrics[bound.metric][bound.setting] = f"{{{{ '' if {asked} is none else {asked} }}}}"
    if any(metric.from_predictions for metric in config.metrics):
        made["when_inconclusive"] = "{{ params.when_inconclusive }}"
    return made


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
        policy=policy(config),
        live_at_start=live_version,
    )
    check >> train >> collect >> gate
    return gate
