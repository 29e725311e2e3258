"""Serve a model with KServe, ask it, bring a second version to users in steps, and tidy up.

It needs a connection ``kserve_default`` of type ``kserve`` and a runtime for scikit-learn, which KServe brings along.
A part of the traffic can be given in Knative mode only: trigger the DAG with ``"canary_percent": 20`` there. Without
one, the second version gets everything as soon as it is ready.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from kubeflow_provider.kubernetes.inference_service import Predictor, Resources
from kubeflow_provider.operators.inference_services import (
    ApplyInferenceServiceOperator,
    DeleteInferenceServiceOperator,
    PredictOperator,
)
from kubeflow_provider.sensors.inference_services import InferenceServiceSensor

IRIS = "gs://kfserving-examples/models/sklearn/1.0/model"

with DAG(
    "example_inference_service",
    schedule=None,
    params={
        "storage_uri": Param(IRIS, type="string"),
        "next_storage_uri": Param(IRIS, type="string"),
        "canary_percent": Param(None, type=["null", "integer"], minimum=0, maximum=100),
        "instances": Param([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], type="array"),
    },
    default_args={"deferrable": True},
    render_template_as_native_obj=True,
    tags=["example", "kserve"],
):
    # [START apply]
    apply = ApplyInferenceServiceOperator(
        task_id="apply",
        name="iris",
        predictor=Predictor(
            model_format="sklearn",
            storage_uri="{{ params.storage_uri }}",
            resources=Resources(requests={"cpu": "100m", "memory": "512Mi"}, limits={"cpu": "1", "memory": "1Gi"}),
            min_replicas=1,
        ),
        timeout=timedelta(minutes=15),
    )
    # [END apply]
    # [START wait]
    wait = InferenceServiceSensor(task_id="wait", name="iris", timeout=900)
    # [END wait]
    # [START predict]
    predict = PredictOperator(task_id="predict", name="iris", body={"instances": "{{ params.instances }}"})
    # [END predict]
    # [START canary]
    second = {"model_format": "sklearn", "storage_uri": "{{ params.next_storage_uri }}", "min_replicas": 1}
    canary = ApplyInferenceServiceOperator(
        task_id="canary", name="iris", predictor=second, canary_percent="{{ params.canary_percent }}"
    )
    ask_again = PredictOperator(task_id="ask_again", name="iris", body={"instances": "{{ params.instances }}"})
    promote = ApplyInferenceServiceOperator(task_id="promote", name="iris", predictor=second)
    # [END canary]
    # [START delete]
    delete = DeleteInferenceServiceOperator(task_id="delete", name="iris")
    # [END delete]

    apply >> wait >> predict >> canary >> ask_again >> promote >> delete
