"""A training over nodes on the double of a cluster: begun once, followed, tried again, ended with its run."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from include.classifier.cluster.api import ClusterError, UnreachableError
from include.classifier.training.nodes.cluster import TrainingCluster
from include.classifier.training.nodes.following import MAX_TRIES, NodesTraining
from include.classifier.training.nodes.kinds import Kind
from include.classifier.training.nodes.task import NodesError, TaskFolder
from include.classifier.training.problems import TrainingDivergedError
from tests.classifier.training.nodes.support import IMAGE, NAME, STEP, client, training, wanted
from tests.doubles.kubernetes import Cluster, Lags, cluster
from tests.doubles.kubernetes.resources import PODS
from tests.doubles.trainer import FakeNodes, Trainer, TrainingOperator
from tests.doubles.trainer.definitions import TRAINJOBS
from tests.rights import rights
from tests.waiting import wait_for

ROLE = "training-over-nodes-rbac.yaml"
V2 = {right for right in rights(ROLE) if right[1] != "pytorchjobs"}
QUICK = Lags(schedule_seconds=0, pull_seconds=0, reconcile_seconds=0)


@pytest.fixture
def nodes() -> FakeNodes:
    return FakeNodes()


@pytest.fixture
def k8s(nodes: FakeNodes, tmp_path: Path) -> Iterator[Cluster]:
    with cluster(images={IMAGE: nodes}, claims={"models": tmp_path / "models"}, speed=100, lags=QUICK) as k8s:
        k8s.add_secret("s3", {"k": "secret"})
        pod = {**STEP, "spec": {**STEP["spec"], "nodeSelector": None}}
        with k8s.store.changed:
            k8s.faults.unschedulable("step")
            k8s.store.create(PODS, pod, k8s.namespace)
        k8s.faults.allow_only(rights(ROLE))
        yield k8s


@pytest.fixture
def trainer(k8s: Cluster) -> Trainer:
    made = Trainer(k8s)
    made.add_runtime("release-training", restartPolicy="Never", job={"backoffLimit": 0})
    return made


def test_a_training_is_one_trainjob_and_nothing_of_it_is_left(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.ends = {0: 0, 1: 0}
    step = client(k8s).own_pod()
    training(k8s, tmp_path, wanted=partial(wanted, pod=step)).run()

    assert len(trainer.created) == 1
    assert trainer.trainjobs() == []
    assert trainer.pods(NAME) == []
    said = capsys.readouterr().out
    assert f"train: TrainJob {NAME}: 2 nodes of 1 processes" in said
    assert k8s.faults.asked == V2


@pytest.mark.long
def test_what_the_first_node_says_is_said_once(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.says = ["train: epoch 1 of 3", "a warning"]
    looks: list[int] = []

    class Looking(NodesTraining):
        def _wait(self) -> None:
            if [pod["status"]["phase"] for pod in trainer.pods(NAME)] == ["Running"] * 2:
                looks.append(1)
            if len(looks) == 3:
                nodes.ends = {0: 0, 1: 0}
            super()._wait()

    Looking(**given(training(k8s, tmp_path))).run()

    said = capsys.readouterr().out.splitlines()
    assert said.count("train: epoch 1 of 3") == 1
    assert said.count("a warning") == 1
    assert "train: 2 of 2 nodes run" in said


def test_a_node_is_told_what_the_step_was(k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path) -> None:
    nodes.ends = {0: 0, 1: 0}
    training(k8s, tmp_path).run()
    launch = next(each for each in nodes.started if each.variables["PET_NODE_RANK"] == "1")

    assert list(launch.command) == ["python", "-m", "node", "s3://models/task", "1"]
    assert launch.variables["STORE_KEY"] == "secret"
    assert launch.variables["PET_NNODES"] == "2"
    assert launch.variables["TRAINING_TRACKING_URI"] == "http://mlflow"
    assert not [name for name in launch.variables if name.startswith(("ARGO_", "KFP_"))]
    assert launch.pod["metadata"]["labels"]["pipeline/runid"] == "r"
    assert set(launch.mounted) == {"/mnt/models", "/dev/shm"}


def test_a_retry_follows_the_same_trainjob_and_makes_no_second(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    _lose_the_step(k8s, tmp_path, lambda: len(trainer.pods(NAME)) == 2)
    nodes.ends = {0: 0, 1: 0}
    training(k8s, tmp_path).run()

    assert len(trainer.created) == 1


def test_a_node_that_ends_is_tried_again_by_another_trainjob(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.ends = {1: 3}
    heal(nodes, when=lambda: len(trainer.created) == 2)
    training(k8s, tmp_path).run()

    assert len(trainer.created) == 2
    said = capsys.readouterr().out
    assert f"TrainJob {NAME}: node 1 ended with exit code 3: boom; another TrainJob goes on" in said
    journal = TaskFolder(tmp_path.as_uri()).journal()
    assert [each.name for each in journal.ended] == [NAME]


@pytest.mark.long
def test_a_node_that_is_lost_with_its_pod_is_tried_again(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose() -> None:
        wait_for(lambda: len(nodes.started) == 2, "both nodes", pause=0.01)
        k8s.store.delete(PODS, k8s.namespace, trainer.pods(NAME)[1]["metadata"]["name"], grace_seconds=0)

    threading.Thread(target=lose, daemon=True).start()
    heal(nodes, when=lambda: len(trainer.created) == 2)
    training(k8s, tmp_path).run()

    assert len(trainer.created) == 2
    said = capsys.readouterr().out
    assert "another TrainJob goes on from the last state" in said
    assert "none of its pods is left to say why" in said or "node 0 was told to end" in said


@pytest.mark.long
def test_tries_have_an_end_and_the_reason_is_said(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    nodes.ends = {0: 1}
    with pytest.raises(NodesError, match=rf"node 0 ended with exit code 1: boom\. It was tried {MAX_TRIES} times"):
        training(k8s, tmp_path).run()

    assert len(trainer.created) == MAX_TRIES
    assert trainer.trainjobs() == []


def test_what_no_new_try_ends_otherwise_is_not_tried_again(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    nodes.ends = {0: 1, 1: 1}
    TaskFolder(tmp_path.as_uri()).fail(1, TrainingDivergedError("The loss became nan"))
    with pytest.raises(TrainingDivergedError, match="The loss became nan"):
        training(k8s, tmp_path).run()

    assert len(trainer.created) == 1


def test_memory_that_runs_out_is_said_and_not_tried_again(k8s: Cluster, trainer: Trainer, tmp_path: Path) -> None:
    k8s.faults.out_of_memory("train-*-1-*")
    with pytest.raises(NodesError, match=r"was killed because its memory ran out: lower batch_size"):
        training(k8s, tmp_path).run()

    assert len(trainer.created) == 1


@pytest.mark.long
def test_an_image_that_cannot_be_had_ends_it_after_a_while(k8s: Cluster, trainer: Trainer, tmp_path: Path) -> None:
    step = json.loads(json.dumps(STEP).replace(IMAGE, "absent:1"))
    now = [0.0]

    class Waiting(NodesTraining):
        def _wait(self) -> None:
            if "PullBackOff" in str(trainer.pods(NAME)):
                now[0] += 200
            super()._wait()

    followed = training(
        k8s,
        tmp_path,
        wanted=partial(wanted, pod=step),
        clock=lambda: now[0],
    )
    with pytest.raises(NodesError, match=r"node [01] waits \((ErrImagePull|ImagePullBackOff): .*for 10 minutes"):
        Waiting(**given(followed)).run()

    assert trainer.trainjobs() == []


@pytest.mark.long
def test_a_cluster_without_room_is_waited_for_until_the_deadline(
    k8s: Cluster, trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    k8s.faults.unschedulable("train-*")
    followed = training(k8s, tmp_path)
    late = Late(**given(followed))
    with pytest.raises(
        NodesError, match=r"took longer than training\.nodes_timeout_hours \(1\); node 0 waits for room"
    ):
        late.run()

    assert "0 of 2 nodes run; node 0 waits for room (Unschedulable: 0/1 nodes are available" in capsys.readouterr().out
    assert trainer.trainjobs() == []
    with pytest.raises(NodesError, match="took longer than"):  # so does a retry, and makes nothing
        late.run()
    assert len(trainer.created) == 1


def test_a_cancelled_run_deletes_its_trainjob_and_waits_for_its_pods(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def cancel() -> None:
        wait_for(lambda: len(nodes.started) == 2, "both nodes", pause=0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    stop = threading.Thread(target=cancel)
    stop.start()
    with pytest.raises(SystemExit) as ended:
        training(k8s, tmp_path).run()
    stop.join()

    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert trainer.trainjobs() == []
    assert trainer.pods(NAME) == []


def test_a_trainjob_of_another_training_is_left_alone(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    _lose_the_step(k8s, tmp_path, lambda: bool(trainer.trainjobs()))
    # The first ten digits are the same, and so the name is.
    with pytest.raises(NodesError, match="trains something else"):
        training(k8s, tmp_path, training="0123456789zzzzzz").run()

    assert len(trainer.trainjobs()) == 1


def test_one_that_somebody_deletes_ends_the_training(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    def delete() -> None:
        wait_for(lambda: len(nodes.started) == 2, "both nodes", pause=0.01)
        k8s.store.delete(TRAINJOBS, k8s.namespace, NAME)

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(NodesError, match="was deleted from outside"):
        training(k8s, tmp_path).run()
    thread.join()

    assert len(trainer.created) == 1


@pytest.mark.long
def test_a_suspended_one_is_waited_for(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.ends = {0: 0, 1: 0}
    seen: list[str] = []

    class Suspended(NodesTraining):
        def _wait(self) -> None:
            seen.append("look")
            if len(seen) == 10:
                suspend(k8s, suspended=False)
            super()._wait()

    k8s.store.admissions.append(
        lambda resource, new, old: new["spec"].update(suspend=True) if resource == TRAINJOBS and not old else None
    )
    Suspended(**given(training(k8s, tmp_path))).run()

    assert "TrainJob is suspended (Suspended: TrainJob is suspended)" in capsys.readouterr().out
    assert len(trainer.created) == 1


@pytest.mark.long
@pytest.mark.parametrize("status", [503, 500, 429])
def test_a_server_that_is_away_is_waited_for(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, status: int
) -> None:
    nodes.ends = {0: 0, 1: 0}
    followed = training(k8s, tmp_path)
    k8s.faults.http("*", "/trainjobs", status=status, times=3)
    followed.run()

    assert len(trainer.created) == 1


def test_an_answer_that_is_lost_makes_no_second(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path
) -> None:
    lost: list[object] = []

    class Losing(TrainingCluster):
        def create(self, kind: Kind, body: dict[str, object]) -> dict[str, object] | None:
            made = super().create(kind, body)
            lost.append(made)
            if len(lost) == 1:
                raise UnreachableError("the Kubernetes API does not answer")
            return made

    nodes.ends = {0: 0, 1: 0}
    training(k8s, tmp_path, cluster=Losing(pod="step", namespace=k8s.namespace, api=k8s.api_client())).run()

    assert len(lost) == 2
    assert lost[1] is None  # it was there
    assert len(trainer.created) == 1


@pytest.mark.long
def test_without_the_right_to_read_logs_it_goes_on(
    k8s: Cluster, trainer: Trainer, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    k8s.faults.forbid("get", "pods/log")
    _run_when_all_run(k8s, nodes, tmp_path)

    said = capsys.readouterr().out
    assert said.count("train: the first node's log cannot be read (") == 1
    assert ROLE in said


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("runtime", r"not found: specified trainingRuntime must be created .* Apply deploy/training-runtime\.yaml"),
        ("create", r"trainjobs.* is forbidden: .* deploy/training-over-nodes-rbac\.yaml"),
        ("list", r"pods is forbidden: .* deploy/training-over-nodes-rbac\.yaml"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_made(k8s: Cluster, tmp_path: Path, trouble: str, why: str) -> None:
    trainer = Trainer(k8s)
    if trouble != "runtime":
        trainer.add_runtime("release-training")
        k8s.faults.forbid(trouble, {"create": "trainjobs", "list": "pods"}[trouble])
    with pytest.raises(NodesError, match=why):
        training(k8s, tmp_path).run()

    assert trainer.created == []


def test_a_job_that_was_taken_and_comes_to_nothing_is_ended(k8s: Cluster, trainer: Trainer, tmp_path: Path) -> None:
    k8s.controllers.clear()
    clock = iter(range(0, 10**9, 200))
    with pytest.raises(NodesError, match=r"was taken, and no pod was made of it: `kubectl describe trainjobs"):
        training(k8s, tmp_path, clock=lambda: float(next(clock))).run()


def test_where_there_is_only_the_older_operator_it_is_a_pytorchjob(
    k8s: Cluster, nodes: FakeNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = TrainingOperator(k8s)
    nodes.ends = {1: 7}
    heal(nodes, when=lambda: len(operator.created) == 2)
    training(k8s, tmp_path).run()

    assert len(operator.created) == 2
    assert operator.pytorchjobs() == []
    assert "node 1 ended with exit code 7: boom; another PyTorchJob goes on" in capsys.readouterr().out
    launch = next(each for each in nodes.started if each.variables["PET_NODE_RANK"] == "1")
    assert (launch.variables["PET_NNODES"], launch.variables["STORE_KEY"]) == ("2", "secret")


def test_a_cluster_with_neither_says_so(k8s: Cluster) -> None:
    with pytest.raises(ClusterError, match="the cluster has neither TrainJobs"):
        client(k8s).kind()


class Late(NodesTraining):
    """A training that looks a few times, and then has no time left."""

    looks = 0

    def _seconds_left(self) -> float:
        self.looks += 1
        return 1.0 if self.looks < 8 else 0.0


def given(followed: NodesTraining) -> dict[str, object]:
    """Return what a training was made with."""
    return {name: value for name, value in vars(followed).items() if not name.startswith("_")}


def heal(nodes: FakeNodes, *, when: Callable[[], bool]) -> None:
    """Let all nodes end well once something holds."""

    def wait() -> None:
        wait_for(when, "the next try", pause=0.01)
        nodes.ends = {0: 0, 1: 0}

    threading.Thread(target=wait, daemon=True).start()


def suspend(k8s: Cluster, *, suspended: bool) -> None:
    k8s.store.change(TRAINJOBS, k8s.namespace, NAME, lambda job: job["spec"].update(suspend=suspended))


def _run_when_all_run(k8s: Cluster, nodes: FakeNodes, folder: Path) -> None:
    def end() -> None:
        wait_for(lambda: len(nodes.started) == 2, "both nodes", pause=0.01)
        nodes.ends = {0: 0, 1: 0}

    threading.Thread(target=end, daemon=True).start()
    training(k8s, folder).run()


def _lose_the_step(k8s: Cluster, folder: Path, holds: Callable[[], bool]) -> None:
    """Follow until something holds, and leave the job, as a pod does that is lost."""

    class Lost(NodesTraining):
        def _wait(self) -> None:
            if holds():
                raise SystemExit
            super()._wait()

    with pytest.raises(SystemExit):
        Lost(**given(training(k8s, folder))).run()
