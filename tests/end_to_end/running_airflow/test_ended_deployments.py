"""A release that a user ends while its task is deferred leaves no pod, no candidate and no half-shifted traffic."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.airflow_server import AirflowServer, Serve
from tests.candidates import document
from tests.doubles.kubernetes import Behaviour, Image, KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.kserve_support import RUNTIME, KServeWorld, kserve, release, settled, version_of
from tests.rights import MODULES, SERVING, rights
from tests.waiting import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.long]

MODEL, LIVE, NEW = "reviews", "20260101000000", "20260102000000"
CANDIDATE = f"{MODEL}-candidate"
DAGS = """
    from airflow.sdk import DAG

    from kubeflow_provider.operators.modules import RunModuleOperator
    from model_releases.operators.deploy import DeployCandidateOperator
    from model_releases.operators.promote import PromoteOperator

    default_args = {
        "model": "reviews", "version": "20260102000000", "candidate_uri": URI, "registry_conn_id": None,
        "serving_conn_id": "serving_ended", "pipelines_conn_id": "pipelines_ended", "deferrable": True,
    }

    with DAG("ended_promote", schedule=None, default_args=default_args):
        PromoteOperator(task_id="step", rollout={"steps": [50], "watch_seconds": 600, "max_disagreement": 1})

    with DAG("ended_deploy", schedule=None, default_args=default_args):
        DeployCandidateOperator(task_id="step", settings={"kserve": {"runtime": RUNTIME}})

    with DAG("ended_module", schedule=None, default_args=default_args):
        RunModuleOperator(task_id="step", module="chore", cluster={"image": "example/chore:1"})
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster in which the model has a live version, with an image for modules."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "chore.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    with kserve(folder, settings=KServeSettings(default_mode="Serverless")) as running:
        running.k8s.faults.allow_only(rights(*SERVING, MODULES))
        running.k8s.add_image("example/chore:1", Image(folder / "bin", source=folder))
        release(running.hook, MODEL, LIVE)
        yield running


@pytest.fixture(scope="module")
def airflow(serve: Serve, world: KServeWorld, tmp_path_factory: pytest.TempPathFactory) -> AirflowServer:
    archive = {"uri": f"s3://models/{MODEL}/{NEW}/package", "file": "m.mar", "sha256": NEW.ljust(64, "0")}
    made = document(model=MODEL, version=NEW, archive=archive | {"size_bytes": 9})
    path = tmp_path_factory.mktemp("store") / "candidate.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    kubernetes = json.loads(os.environ["AIRFLOW_CONN_KUBERNETES_TEST"])
    fields = {"conn_type": "kserve", "host": world.connection.host, "extra": world.connection.extra_dejson}
    pipelines = {"kubernetes_conn_id": "kubernetes_test", "namespace": world.k8s.namespace}
    connections: dict[str, dict[str, Any]] = {
        "kubernetes_test": kubernetes,
        "serving_ended": fields,
        "pipelines_ended": {"conn_type": "kubeflow_pipelines", "host": "http://127.0.0.1:9", "extra": pipelines},
    }
    source = DAGS.replace("URI", repr(path.as_uri())).replace("RUNTIME", repr(RUNTIME))
    return serve({"ended.py": source}, connections, ("ended_promote", "ended_deploy", "ended_module"))


def begin(airflow: AirflowServer, dag: str) -> str:
    run = airflow.trigger(dag)
    airflow.wait_for_task(dag, run, "step", ("deferred",))
    return run


def end(airflow: AirflowServer, dag: str, run: str) -> None:
    """Mark the DAG run failed: no task after this one will clean up."""
    airflow.call("PATCH", f"/dags/{dag}/dagRuns/{run}", {"state": "failed"})


def candidates(world: KServeWorld) -> list[str]:
    """Return the uids of the candidate services that are there to stay."""
    found = [entry["metadata"] for entry in world.k8s.store.entries(SERVICES)]
    return [entry["uid"] for entry in found if entry["name"] == CANDIDATE and not entry.get("deletionTimestamp")]


def chores(world: KServeWorld) -> list[str]:
    """Return the names of the modules' pods."""
    return [pod["metadata"]["name"] for pod in world.k8s.pods() if pod["metadata"]["name"].startswith("chore-")]


def test_traffic_that_was_half_shifted_goes_back(airflow: AirflowServer, world: KServeWorld) -> None:
    world.models.behave(NEW, Behaviour.GOOD)  # the world is the same for both databases
    world.hook.deploy_candidate(version_of(MODEL, NEW))
    settled(world.hook, MODEL, NEW)
    run = begin(airflow, "ended_promote")
    wait_for(lambda: world.hook.get_traffic(MODEL) == {LIVE: 50, NEW: 50}, lambda: f"{world.hook.get_traffic(MODEL)}")

    end(airflow, "ended_promote", run)
    wait_for(lambda: world.hook.get_traffic(MODEL) == {LIVE: 100}, lambda: f"{world.hook.get_traffic(MODEL)}")
    wait_for(lambda: candidates(world) == [], lambda: "the candidate is gone")


def test_a_candidate_goes_with_its_release_and_stays_for_another_try(
    airflow: AirflowServer, world: KServeWorld
) -> None:
    world.models.behave(NEW, Behaviour.NEVER_READY)
    run = begin(airflow, "ended_deploy")
    wait_for(lambda: len(candidates(world)) == 1, lambda: "the trigger deploys it")
    (first,) = candidates(world)

    airflow.clear("ended_deploy", run, "step")
    wait_for(lambda: airflow.task("ended_deploy", run, "step")["try_number"] == 2, lambda: "another try")
    wait_for(lambda: "is not ready yet" in airflow.log("ended_deploy", run, "step", 2), lambda: "the trigger waits")
    assert candidates(world) == [first]

    end(airflow, "ended_deploy", run)
    wait_for(lambda: candidates(world) == [], lambda: "the candidate is gone")
    assert world.hook.get_traffic(MODEL) == {LIVE: 100}


def test_nothing_is_deployed_for_a_task_that_was_ended_between_its_deferral_and_its_trigger(
    airflow: AirflowServer, world: KServeWorld
) -> None:
    run = begin(airflow, "ended_deploy")
    end(airflow, "ended_deploy", run)

    later = begin(airflow, "ended_module")  # by then the triggerer has looked at the first one, too
    wait_for(lambda: chores(world) != [], lambda: "the triggerer is at work")
    end(airflow, "ended_module", later)
    wait_for(lambda: candidates(world) == [], lambda: "there is no candidate")


def test_a_module_s_pod_goes_with_its_task(airflow: AirflowServer, world: KServeWorld) -> None:
    run = begin(airflow, "ended_module")
    wait_for(lambda: len(chores(world)) == 1, lambda: "the pod runs")
    end(airflow, "ended_module", run)
    wait_for(lambda: chores(world) == [], lambda: "the pod is gone")
