"""The whole story of a model that anybody's pipeline makes, on doubles: from the trigger to put back, without Airflow.

The tasks are those of the project's own DAGs, rendered and carried out in their order.
``test_own_pipeline.py`` tells it with real pipelines, KServe's own server and Airflow's runs, in the long tier.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.sdk.execution_time.xcom import XCom

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from model_releases.registry.mlflow import MlflowHook
from tests.connected import connect
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.tasks import PIPELINE
from tests.kubeflow_provider.operators.tries import Store
from tests.quick_local_kserve import QuickHook
from tests.quick_mlflow import Mlflow

ROOT = Path(__file__).parents[2]
MODEL = "iris"

pytestmark = pytest.mark.computes

#: What a run of a release does, besides asking nobody; `roll_back` and `report` belong to Airflow's runs.
DEPLOYMENT = ["deploy_candidate", "smoke_test", "promote", "verify"]
RELEASE = ["check", "train", "collect", "gate", "register", *DEPLOYMENT, "release"]
PUT_BACK = ["check", *DEPLOYMENT, "record"]


class DagRun:
    """A run of a DAG, whose tasks leave what they leave in a table."""

    def __init__(self, dag: Any, version: str, form: Mapping[str, Any]) -> None:
        self.dag, self.version, self.left = dag, version, dict[tuple[str, str], Any]()
        self.params = {name: dag.params[name] for name in dag.params} | form
        dag.user_defined_macros = {name: lambda run: version for name in dag.user_defined_macros or {}}

    def carry_out(self, task_ids: Sequence[str]) -> list[str]:
        """Carry tasks out in this order, and return those that were: what follows a gate's no is skipped."""
        done = []
        for task_id in task_ids:
            task = copy.copy(self.dag.get_task(task_id))
            context = self._context(task)
            task.render_template_fields(context)
            done.append(task_id)
            try:
                self.left[task_id, "return_value"] = task.execute(context)
            except DownstreamTasksSkipped:
                break
        return done

    def pull(self, task_ids: Any, key: str = "return_value", **_: Any) -> Any:
        (task_id,) = [task_ids] if isinstance(task_ids, str) else task_ids
        return self.left.get((task_id, key))

    def _context(self, task: Any) -> Any:
        dag_id, run_id = self.dag.dag_id, f"manual_{self.version}"
        ti = SimpleNamespace(
            dag_id=dag_id,
            run_id=run_id,
            task_id=task.task_id,
            map_index=-1,
            max_tries=0,
            try_number=1,
            xcom_push=lambda key, value: self.left.update({(task.task_id, key): value}),
            xcom_pull=self.pull,
            get_dr_count=lambda **_: 0,
            get_task_states=lambda **_: {},
        )
        now = datetime.now(UTC)
        dag_run = SimpleNamespace(
            dag_id=dag_id, run_id=run_id, run_type="manual", start_date=now, conf={}, triggering_user_name="ada"
        )
        return {
            "ti": ti,
            "task": task,
            "dag": self.dag,
            "run_id": run_id,
            "dag_run": dag_run,
            "params": self.params,
            "task_state_store": Store(),
            "outlet_events": defaultdict(SimpleNamespace),
        }


class World:
    """A Kubeflow that says what its runs have made, servers that are a table, and a registry that is one."""

    def __init__(self, folder: Path, pipelines: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.pipelines, self._monkeypatch = folder, pipelines, monkeypatch
        self._version = 20260101000000
        self.serving = QuickHook(folder)
        extra = '{"tracking_uri": "http://mlflow.example"}'
        self.registry = MlflowHook(connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))
        monkeypatch.setattr(MlflowHook, "_client", Mlflow())
        connect(monkeypatch, local_kserve_default=self.serving, registry_default=self.registry)
        settings = yaml.safe_load((ROOT / "examples" / MODEL / f"{MODEL}.yaml").read_text())
        settings |= {
            "outputs": {"document": "handed_over", "allowed_sources": [str(folder / "runs")]},
            "metrics": [{"name": "accuracy", "from_predictions": "accuracy", "max_regression": 0.05}],
            "smoke_test": {"requests": [{"request": {"instances": [[1]]}}], "refused": ["{"]},
        }
        (folder / "models").mkdir()
        (folder / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))
        self.dags = self._dags("release_models.py") | self._dags("roll_back.py")

    def _dags(self, file: str) -> dict[str, Any]:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(ROOT / "dags" / file), safe_mode=False)
        assert bag.import_errors == {}
        return bag.dags

    def release(self, name: str, *, right: int, **form: Any) -> tuple[list[str], Any]:
        """Let the pipeline make a model that labels so many of 200 rows rightly, and release it."""
        made = self.folder / "runs" / name
        made.mkdir(parents=True)
        (made / "model.skops").write_text(f"model {name}")
        rows = (f"{row},{row % 3},{(row + (row >= right)) % 3}\n" for row in range(200))
        (made / "rows.csv").write_text("id,label,prediction\n" + "".join(rows))
        document = {
            "schema_version": 1,
            "model": str(made / "model.skops"),
            "metrics": {},
            "predictions": str(made / "rows.csv"),
            "requests": [{"request": {"instances": [[2]]}}],
        }
        (made / "model.json").write_text(json.dumps(document))
        outputs = {PIPELINE: {"parameters": {"handed_over": str(made / "model.json")}}}
        self.pipelines.script(None, [{"state": "SUCCEEDED", "steps": [("train", "SUCCEEDED")], "outputs": outputs}])
        self._version += 1
        done = self._run(f"release_{MODEL}", str(self._version), form).carry_out(RELEASE)
        return done, self.registry.list_releases(MODEL, limit=1)[0]

    def put_back(self) -> None:
        self._run(f"roll_back_{MODEL}", "", {"reason": "the flowers have withered"}).carry_out(PUT_BACK)

    def answering(self) -> Any:
        return self.serving.predict(MODEL, b'{"instances": [[1]]}').version

    def _run(self, dag_id: str, version: str, form: Mapping[str, Any]) -> DagRun:
        run = DagRun(self.dags[dag_id], version, form)
        self._monkeypatch.setattr(
            XCom, "get_all", lambda *, key, task_id, **_: [found] if (found := run.pull(task_id, key)) else []
        )
        return run


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with kfp_server(version="3.0.0") as pipelines:
        for name, text in {
            "AIRFLOW_CONN_PIPELINES_DEFAULT": json.dumps({"conn_type": "kubeflow_pipelines", "host": pipelines.url}),
            f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}": "11111111-1111-4111-8111-111111111111",
            "MODELS_DIR": str(tmp_path / "models"),
            "MODEL_STORE": (tmp_path / "store").as_uri(),
        }.items():
            monkeypatch.setenv(name, text)
        monkeypatch.setattr(KubeflowPipelinesHook, "settle_seconds", 0.01)
        yield World(tmp_path, pipelines, monkeypatch)


def test_from_the_trigger_to_put_back(world: World) -> None:
    done, first = world.release("first", right=180)
    assert done == RELEASE
    assert (first.state, world.answering()) == (ReleaseState.LIVE, first.version)
    assert first.facts["gate"] == "accepted: accuracy 0.9"

    # Shown to be worse by more than the margin, row by row: an outcome, and users notice nothing.
    done, rejected = world.release("worse", right=150)
    assert done[-1] == "gate"
    assert (rejected.state, world.answering()) == (ReleaseState.REJECTED, first.version)
    assert rejected.reason.startswith("rejected: accuracy 0.750, live 0.900, difference -0.150, 95 % interval -0.")

    # Within the margin as the form has it for this once.
    done, second = world.release("second", right=170, gate_accuracy_max_regression=0.2)
    assert done == RELEASE
    assert (second.state, world.answering()) == (ReleaseState.LIVE, second.version)
    assert json.loads(second.facts["gate_settings"])["metrics"][0]["max_regression"] == 0.2
    assert json.loads(second.facts["paired_comparison"])["version"] == first.version

    world.put_back()
    assert world.answering() == first.version
    states = {each.version: each.state for each in world.registry.list_releases(MODEL, limit=10)}
    assert (states[first.version], states[second.version]) == (ReleaseState.LIVE, ReleaseState.ROLLED_BACK)
