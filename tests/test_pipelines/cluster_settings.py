"""A pipeline without cluster settings, and the same with each of them set by ``kfp.kubernetes`` and the compiler.

``python tests/test_pipelines/cluster_settings.py`` writes both. Airflow's half puts the same settings into the first
one and must get the second.
"""

import sys
from pathlib import Path

from kfp import compiler, dsl, kubernetes  # noqa: TID253  imported to be compiled

BEFORE, AFTER = "cluster_settings_before.yaml", "cluster_settings_after.yaml"


def _settle(task: dsl.PipelineTask) -> None:
    """Make the settings that all steps have in common."""
    kubernetes.mount_pvc(task, pvc_name="models", mount_path="/mnt/models")
    kubernetes.mount_pvc(task, pvc_name="data", mount_path="/mnt/data", sub_path="reviews")
    kubernetes.use_secret_as_env(task, "s3", {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"})
    kubernetes.use_secret_as_env(task, "hub", {"token": "HF_TOKEN"}, optional=True)
    kubernetes.use_config_map_as_env(task, "proxy", {"http": "HTTP_PROXY"}, optional=True)
    kubernetes.use_config_map_as_env(task, "region", {"name": "AWS_REGION"})
    kubernetes.add_node_selector(task, "pool", "training")
    kubernetes.add_toleration(task, key="team", operator="Equal", value="a", effect="NoSchedule")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.add_pod_label(task, "team", "reviews")
    kubernetes.add_pod_annotation(task, "example.com/bill", "to: reviews")
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=2000, run_as_non_root=True)
    task.set_env_variable("HF_HOME", "/tmp/hub")


def train(text: str) -> str:
    return text


def package() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="alpine:3", command=["true"])


def settled_package() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="example/settled:2", command=["true"])


settled_package.__name__ = "package"


def choose(text: str) -> str:
    return text


def repeat(text: str) -> str:
    return text


def evaluate(text: str) -> str:
    return text


def write(path: Path, *, settled: bool) -> None:
    """Compile the pipeline.

    :param settled: with the settings.
    """
    component = dsl.component(base_image="example/settled:2" if settled else "example/generic:1")

    @dsl.pipeline(name="nested")
    def nested(text: str) -> None:
        evaluated = component(evaluate)(text=text).set_display_name("Evaluate").set_caching_options(False)
        evaluated.set_env_variable("AUTHORS", "kept")
        if settled:
            _settle(evaluated)
            evaluated.set_display_name("Measure").set_caching_options(True)

    config = dsl.PipelineConfig(ttl_seconds_after_finished=3600, active_deadline_seconds=86400) if settled else None

    @dsl.pipeline(name="cluster-settings", pipeline_config=config)
    def pipeline(text: str = "a", image: str = "example/chosen:3") -> None:
        claim = kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size="1Gi", pvc_name_suffix="-scratch")
        imported = dsl.importer(artifact_uri="s3://data/reviews", artifact_class=dsl.Dataset)
        trained = component(train)(text=text).after(claim, imported)
        kubernetes.mount_pvc(trained, pvc_name=claim.outputs["name"], mount_path="/mnt/scratch")
        packaged = dsl.container_component(settled_package if settled else package)().set_retry(3)
        chosen = component(choose)(text=text).set_container_image(image)
        with dsl.ParallelFor(["b", "c"]) as item:
            repeated = component(repeat)(text=item)
        nested(text=text)
        if settled:
            for task in (trained, packaged, chosen, repeated):
                _settle(task)
            kubernetes.add_node_selector(trained, "gpu", "true")
            kubernetes.add_toleration(
                trained, key="nvidia.com/gpu", operator="Exists", effect="NoExecute", toleration_seconds=60
            )
            trained.set_retry(2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="3600s")
            trained.set_display_name("Train")
            trained.set_cpu_request("500m").set_cpu_limit("2").set_memory_request("1Gi").set_memory_limit("4G")
            trained.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)
            trained.set_env_variable("OMP_NUM_THREADS", "2")
            kubernetes.add_node_affinity(
                trained,
                match_expressions=[{"key": "gpu-memory", "operator": "Gt", "values": ["40"]}],
                match_fields=[{"key": "metadata.name", "operator": "NotIn", "values": ["old-1"]}],
            )
            kubernetes.add_node_affinity(trained, match_expressions=[{"key": "new", "operator": "Exists"}], weight=3)
            kubernetes.add_pod_label(trained, "heavy", "yes")
            kubernetes.set_timeout(trained, 7200)
            packaged.set_caching_options(False)

    compiler.Compiler().compile(pipeline, str(path))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write(folder / BEFORE, settled=False)
    write(folder / AFTER, settled=True)
