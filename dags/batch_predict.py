"""Score a table or a folder with the live or a named version: one DAG for every text classifier in ``include/models``.

Every row has one prediction in the end, or stands among the rejected ones with the reason. A try that was interrupted
is gone on with. Say where the data is and which columns hold the text; docs/batch-prediction.md has the rest.
"""

from __future__ import annotations

import json
from datetime import timedelta

from airflow.sdk import DAG, Param

from include.contracts.batch.settings import READING
from model_releases import ids
from model_releases.addresses import mask
from model_releases.alerts.prediction_notifier import PredictionNotifier
from model_releases.config import TextClassifierConfig, read_configs_to_build
from model_releases.operators.predictions.batch_predict import LIVE, BatchPredictOperator
from model_releases.versions import asked_version


def masked(address: str) -> str:
    """Return an address whose secrets Airflow shows nobody from then on; it is refused for them."""
    mask([address])
    return address


def batch_predict_dag(config: TextClassifierConfig) -> DAG:
    """Build the DAG of one model."""
    settings, resources = config.predictions, config.resources
    with DAG(
        dag_id=ids.batch_predict_dag(config.name),
        dag_display_name=f"Batch prediction with {config.name}",
        description=f"Score a table or a folder with {config.name}.",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        # Two into one folder would score its rows twice.
        max_active_runs=1,
        params={
            "data": Param(
                type="string", minLength=1, title="Data",
                description="File, folder or pattern of CSV, TSV, JSON Lines or Parquet, which the model's YAML names "
                "or allows (`data.allowed_sources`).",
            ),
            "output": Param(
                "", type="string", title="Output",
                description="Folder for the predictions, below those of `predictions.allowed_outputs`. One that holds "
                "a part of them is gone on with. Empty: `predictions/` in the model's folder of the store.",
            ),
            "text_columns": Param(
                config.data.text_columns, type="array", items={"type": "string"}, minItems=1, title="Text columns",
                description="Columns with the text; what stands in several is joined, as in training.",
            ),
            "version": Param(
                LIVE, type="string", pattern=rf"^({LIVE}|[0-9]{{14}})$", title="Version",
                description=f"14 digits, or `{LIVE}` for the one that users reach.",
            ),
            "workers": Param(
                settings.workers, type="integer", minimum=1, maximum=256, title="Workers",
                description="Steps that score side by side.",
            ),
            "shard_rows": Param(
                settings.shard_rows, type="integer", minimum=1, title="Rows of a file",
                description="What was interrupted begins again with a file that is not whole.",
            ),
        },
        tags=["prediction", *config.tags],
        user_defined_macros={
            "asked_version": asked_version,
            "allowed_sources": lambda: json.dumps(config.allowed_sources),
            "allowed_outputs": lambda: json.dumps(config.allowed_outputs),
            "as_json": json.dumps,
            "masked": masked,
        },
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
        },
    ) as dag:  # fmt: skip
        BatchPredictOperator(
            task_id=ids.PREDICT,
            model=config.name,
            data_uri="{{ masked(params.data) }}",
            output_uri=f"{{{{ masked(params.output) or '{config.store_uri}/predictions/' ~ asked_version(dag_run) }}}}",
            store_uri=config.store_uri,
            reading=config.data.model_dump(mode="json", include=set(READING)),
            text_columns="{{ as_json(params.text_columns) }}",
            version="{{ params.version }}",
            workers="{{ params.workers }}",
            shard_rows="{{ params.shard_rows }}",
            step_resources={
                "cpu": resources.cpu,
                "memory": resources.memory,
                "accelerator_type": resources.accelerator_type,
                "accelerator_count": str(resources.accelerator_count),
            },
            allowed_sources="{{ allowed_sources() }}",
            allowed_outputs="{{ allowed_outputs() }}",
            display_name=f"{config.name} {{{{ run_id }}}}",
            experiment=f"{config.name} predictions",
            # Its steps are the training's.
            cluster=config.cluster.model_dump(mode="json", exclude={"steps"}),
            timeout=timedelta(hours=settings.timeout_hours),
            pipelines_conn_id=config.connection("pipelines"),
            serving_conn_id=config.connection("serving"),
            registry_conn_id=config.connection("registry"),
            store_conn_id=config.store_conn_id,
            on_failure_callback=PredictionNotifier(model=config.name, conn_id=config.alert_connections["normal"]),
        )
    return dag


# What is wrong in a YAML is said once, by release_models.py.
for model in read_configs_to_build(ids.batch_predict_dag, leave_out_wrong=True):
    if isinstance(model, TextClassifierConfig):
        batch_predict = batch_predict_dag(model)
        globals()[batch_predict.dag_id] = batch_predict
