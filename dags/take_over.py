"""Take a release over from another installation that has the same model store: staging's into production, say.

Nothing is trained: the same archive, byte for byte, is proven and promoted here, with the gate, the approval and the
record of there carried along. One DAG for every file in ``include/models``, by hand or through the REST API.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from model_releases import ids
from model_releases.config import ModelConfig, read_configs_to_build
from model_releases.deployment import add_deployment, default_arguments, notifier_of
from model_releases.operators.take_over import CarryOverOperator, CheckTakeOverOperator

VERSION = "{{ params.version }}"


def take_over_dag(config: ModelConfig) -> DAG:
    """Build the DAG of one model."""
    with DAG(
        dag_id=ids.take_over_dag(config.name),
        dag_display_name=f"Take over {config.name}",
        description=f"Take a release of {config.name} over from another installation.",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        params={
            "version": Param(
                type="string", pattern="^[0-9]{14}$", title="Version",
                description="14 digits, as the Releases page of the other installation shows it.",
            ),
            "release_sha256": Param(
                type="string", pattern="^[0-9a-f]{64}$", title="SHA-256 of the release",
                description="The fact `release_sha256` on the version's page there: what you have looked at goes live.",
            ),
            "allow_older": Param(
                False, type="boolean", title="Also when a newer version is live here",
                description="Otherwise it is refused.",
            ),
        },
        tags=["release", *config.tags],
        on_failure_callback=notifier_of(config, version=VERSION),
        default_args=default_arguments(config, version=VERSION)
        | {"store_uri": config.store_uri, "release_sha256": "{{ params.release_sha256 }}"},
    ) as dag:  # fmt: skip
        check = CheckTakeOverOperator(
            task_id=ids.CHECK,
            pre_execute=None,  # it says itself what to do with a version that was live here
            candidate_sha256=None,  # what they read says which it is
            allow_older="{{ params.allow_older }}",
            settings=config.serving_settings,
        )
        gate = CarryOverOperator(task_id=ids.GATE, candidate_sha256=None)
        check >> gate
        add_deployment(
            dag,
            config,
            after=gate,
            known_version=VERSION,
            requires_approval=config.approval.required,
            taken_over=True,
            action="Taking over",
        )
    return dag


# What is wrong in a YAML is said once, by release_models.py.
for model in read_configs_to_build(ids.take_over_dag, leave_out_wrong=True):
    take_over = take_over_dag(model)
    globals()[take_over.dag_id] = take_over
