"""A search with Katib on the double of a cluster: begun once, followed, ended with its run, and written down."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include.classifier.search.findings import findings
from include.classifier.search.katib.cluster import Katib as Client
from include.classifier.search.katib.experiment import settings_of
from include.classifier.search.katib.following import KatibSearch, engine
from include.classifier.search.katib.job import LineTeller
from include.classifier.search.katib.outcomes import TRIAL
from include.classifier.search.searching import SearchError
from include.classifier.search.trials import Course
from tests.classifier.search.stub import SPACE, TRUTH, Stub, epoch, search, skill
from tests.doubles.katib import EXPERIMENTS, Ending, Katib
from tests.doubles.kubernetes import Cluster, cluster
from tests.doubles.kubernetes.resources import PODS
from tests.rights import rights
from tests.waiting import wait_for

ID = "20261130090000"
ROLE = "search-in-katib-rbac.yaml"

#: Of Katib, Trials that end at once.
Trains = Callable[[str, dict[str, str]], Ending]


@pytest.fixture
def k8s() -> Iterator[Cluster]:
    with cluster() as k8s:
        pod = {"metadata": {"name": "step"}, "spec": {"containers": [{"name": "main", "image": "training:1"}]}}
        k8s.store.create(PODS, pod, k8s.namespace)
        k8s.faults.allow_only(rights(ROLE))
        yield k8s


def trained(folder: Path, *, epochs: int = 2) -> Trains:
    """Return what does as the Jobs do: writes a file and tells Katib each epoch."""

    def trains(name: str, values: dict[str, str]) -> Ending:
        assigned = [{"name": key, "value": value} for key, value in values.items()]
        settings = settings_of(assigned, SPACE)
        course = Course(keeps_best=True, objective="macro_f1")
        teller = LineTeller(f"{folder.as_uri()}/katib/{name}.json", settings, course)
        for number in range(1, epochs + 1):
            teller.epoch(epoch(number, max(0.0, skill(settings)) * number / epochs))
        return Ending(values=tuple(course.values))

    return trains


def client(k8s: Cluster) -> Client:
    return Client(pod="step", namespace=k8s.namespace, api=k8s.api_client())


def run(k8s: Cluster, folder: Path, **settings: Any) -> tuple[str, Any]:
    searched = search(folder, **{"trials": 5, "engine": "katib", **settings})
    found = engine(
        searched, search_id=ID, folder=folder.as_uri(), question="q", space=SPACE, katib=client(k8s)
    )  # fmt: skip
    assert isinstance(found, KatibSearch)
    return replace(found, poll=0.01).run(searched), searched


def test_a_search_is_an_experiment_whose_trials_stand_in_the_journal(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))

    ended_by, searched = run(k8s, tmp_path)

    assert ended_by == "trials"
    trials = searched.journal.trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.state for trial in trials] == ["finished"] * 5
    assert len(katib.created) == 1
    assert katib.created[0]["spec"]["maxTrialCount"] == 4  # the present settings are trained by the step
    config = searched.config
    found = findings(
        trials, config=config, space=SPACE, truth=TRUTH, n_classes=2, confidence=0.9, importance={}, resamples=50
    )
    assert all(each["difference"] is not None for each in found["trials"][1:])
    assert k8s.faults.asked == rights(ROLE)


def test_the_job_of_a_trial_is_told_its_name_and_its_settings(k8s: Cluster, tmp_path: Path) -> None:
    told: list[str] = []
    katib: Katib

    def look(name: str, values: dict[str, str]) -> Ending:
        (job,) = [each for each in katib.jobs() if each["metadata"]["name"] == name]
        told.append(job["spec"]["template"]["spec"]["containers"][0]["command"][2])
        assert f"--learning-rate={values['learning_rate']}" in told[-1]
        assert f" {name} " in told[-1]
        return Ending(values=(0.5,))

    katib = Katib(k8s, look)
    run(k8s, tmp_path)

    assert len(set(told)) == 4


def test_a_retry_follows_the_same_experiment_and_starts_no_second(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, lambda name, values: Ending("Running"))
    searched = search(tmp_path, trials=5, engine="katib")
    with pytest.raises(SystemExit):
        _run_until(k8s, tmp_path, searched, lambda: bool(katib.trials()))  # the pod is lost without a word

    katib.trains = trained(tmp_path)
    ended_by, again = run(k8s, tmp_path)

    assert ended_by == "trials"
    assert len({each["metadata"]["uid"] for each in katib.created}) == 1
    assert [trial.number for trial in again.journal.trials] == [0, 1, 2, 3, 4]


def test_a_search_that_is_over_is_deleted_and_begins_nothing_anew(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))
    run(k8s, tmp_path)
    _until(lambda: not katib.experiments() and not katib.trials() and not katib.jobs())
    ended_by, _ = run(k8s, tmp_path)

    assert (ended_by, len(katib.created)) == ("trials", 1)


@pytest.mark.long
def test_what_went_before_counts(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))
    run(k8s, tmp_path, trials=3)
    katib.holds_deleted = True
    threading.Timer(0.1, setattr, (katib, "holds_deleted", False)).start()
    _, searched = run(k8s, tmp_path, trials=5)

    assert katib.created[-1]["spec"]["maxTrialCount"] == 2
    assert len(searched.journal.trials) == 5
    assert len({each.memory.get(TRIAL, "") for each in searched.journal.trials}) >= 3


def test_a_cancelled_run_deletes_its_experiment(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, lambda name, values: Ending("Running"))
    before = signal.getsignal(signal.SIGTERM)

    def cancel() -> None:
        _until(lambda: bool(katib.trials()))
        os.kill(os.getpid(), signal.SIGTERM)

    stop = threading.Thread(target=cancel)
    stop.start()
    with pytest.raises(SystemExit) as ended:
        run(k8s, tmp_path)
    stop.join()

    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    _until(lambda: not katib.experiments() and not katib.trials() and not katib.jobs())


@pytest.mark.long
def test_the_time_of_the_search_ends_what_is_under_way(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, lambda name, values: Ending("Running"))
    clock = iter(range(0, 10_000_000, 20))
    ended_by, searched = run(k8s, tmp_path, minutes=20, clock=lambda: float(next(clock)))

    assert ended_by == "minutes"
    assert {trial.state for trial in searched.journal.trials[1:]} <= {"pruned"}
    _until(lambda: not katib.experiments())


def test_trials_that_fail_for_another_reason_end_the_search_with_it(k8s: Cluster, tmp_path: Path) -> None:
    job = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    katib = Katib(k8s, lambda name, values: Ending("Failed", job=job))

    with pytest.raises(SearchError, match="Job has reached the specified backoff limit"):
        run(k8s, tmp_path, trials=9)
    _until(lambda: not katib.experiments())


@pytest.mark.long
def test_an_experiment_that_katib_calls_failed_says_why(k8s: Cluster, tmp_path: Path) -> None:
    seen: list[str] = []

    def trains(name: str, values: dict[str, str]) -> Ending:
        seen.append(name)
        return Ending("Failed", job=("DeadlineExceeded", "too slow")) if len(seen) % 2 else Ending(values=(0.5,))

    katib = Katib(k8s, trains)
    with pytest.raises(SearchError, match=r"ExperimentFailed: Experiment has failed because max .* 1: .*too slow"):
        run(k8s, tmp_path, trials=9)
    _until(lambda: not katib.experiments())


@pytest.mark.long
@pytest.mark.parametrize(
    ("condition", "state"),
    [("EarlyStopped", "pruned"), ("Killed", "failed"), ("MetricsUnavailable", "failed"), ("Failed", "failed")],
)
def test_each_end_of_a_trial_is_written_down(k8s: Cluster, tmp_path: Path, condition: str, state: str) -> None:
    seen: list[str] = []

    def trains(name: str, values: dict[str, str]) -> Ending:
        seen.append(name)
        return Ending(condition, (0.4,)) if name == seen[0] else Ending(values=(0.8,))

    Katib(k8s, trains)
    _, searched = run(k8s, tmp_path)

    assert sorted(trial.state for trial in searched.journal.trials) == sorted([state, *["finished"] * 4])


@pytest.mark.long
def test_a_server_that_is_away_is_waited_for(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))
    searched = search(tmp_path, trials=5, engine="katib")
    found = engine(searched, search_id=ID, folder=tmp_path.as_uri(), question="q", space=SPACE, katib=client(k8s))
    assert found is not None
    k8s.faults.http("*", "/experiments", status=503, times=5)

    assert replace(found, poll=0.01).run(searched) == "trials"
    assert len(katib.created) == 1


@pytest.mark.long
def test_an_answer_that_was_lost_makes_no_second(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))
    searched = search(tmp_path, trials=5, engine="katib")
    found = engine(searched, search_id=ID, folder=tmp_path.as_uri(), question="q", space=SPACE, katib=client(k8s))
    assert found is not None
    k8s.faults.http("POST", "/experiments", status=-1)

    assert replace(found, poll=0.01).run(searched) == "trials"
    assert len(katib.created) == 1


def test_a_server_that_is_away_at_first_leaves_a_new_search_to_optuna(k8s: Cluster, tmp_path: Path) -> None:
    Katib(k8s, trained(tmp_path))
    k8s.faults.http("*", "/apis/kubeflow.org", status=503)
    ours: dict[str, Any] = {"search_id": ID, "folder": tmp_path.as_uri(), "question": "q", "space": SPACE}

    assert engine(search(tmp_path), katib=client(k8s), **ours) is None


def test_a_search_that_katib_may_be_at_waits_for_the_server(
    k8s: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Katib(k8s, trained(tmp_path))
    (tmp_path / "katib").mkdir()
    (tmp_path / "katib" / "task.json").touch()
    monkeypatch.setattr(KatibSearch, "_wait", lambda self: None)
    k8s.faults.http("*", "/apis/kubeflow.org", status=503, times=3)
    ours: dict[str, Any] = {"search_id": ID, "folder": tmp_path.as_uri(), "question": "q", "space": SPACE}

    assert engine(search(tmp_path), katib=client(k8s), **ours) is not None


def test_an_experiment_of_another_question_is_left_alone(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, lambda name, values: Ending("Running"))
    first = search(tmp_path, trials=5, engine="katib")
    with pytest.raises(SystemExit):
        _run_until(k8s, tmp_path, first, lambda: bool(katib.trials()))
    other = search(tmp_path, trials=5, engine="katib")
    found = engine(other, search_id=ID, folder=tmp_path.as_uri(), question="z", space=SPACE, katib=client(k8s))
    assert found is not None

    with pytest.raises(SearchError, match="searches something else"):
        found.run(other)
    assert len(katib.experiments()) == 1


def test_one_that_somebody_deletes_ends_the_search(k8s: Cluster, tmp_path: Path) -> None:
    katib: Katib

    def vanish(name: str, values: dict[str, str]) -> Ending:
        for each in katib.experiments():
            k8s.store.delete(EXPERIMENTS, k8s.namespace, each["metadata"]["name"])
        return Ending("Running")

    katib = Katib(k8s, vanish)
    with pytest.raises(SearchError, match="was deleted from outside"):
        run(k8s, tmp_path)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("none", "the cluster has no Katib"),
        ("rights", "experiments.kubeflow.org is forbidden"),
        ("label", "the namespace lacks label"),
    ],
)
def test_where_katib_cannot_be_used_optuna_searches_and_says_so(
    k8s: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: str, why: str
) -> None:
    if trouble != "none":
        katib = Katib(k8s, trained(tmp_path))
        if trouble == "label":
            katib.label({})
    if trouble == "rights":
        k8s.faults.forbid("create", "experiments")
    ours: dict[str, Any] = {"search_id": ID, "folder": tmp_path.as_uri(), "question": "q", "space": SPACE}

    assert engine(search(tmp_path, engine="auto"), katib=client(k8s), **ours) is None
    assert "search: Optuna, in this process: " in (said := capsys.readouterr().out)
    assert why in said
    assert ("search-in-katib-rbac.yaml" in said) == (trouble == "rights")
    with pytest.raises(SearchError, match=f"search.engine is katib, but .*{why}"):
        engine(search(tmp_path, engine="katib"), katib=client(k8s), **ours)


def test_on_one_machine_optuna_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ours: dict[str, Any] = {"search_id": ID, "folder": tmp_path.as_uri(), "question": "q", "space": SPACE}

    assert engine(search(tmp_path), **ours) is None
    assert engine(search(tmp_path, engine="optuna"), **ours) is None
    assert engine(search(tmp_path, early_stop="halving"), **ours) is None
    with pytest.raises(SearchError, match="this is no pod of a cluster"):
        engine(search(tmp_path, engine="katib"), **ours)


def test_present_settings_that_cannot_be_trained_make_no_experiment(k8s: Cluster, tmp_path: Path) -> None:
    katib = Katib(k8s, trained(tmp_path))

    with pytest.raises(SearchError, match="the disk is full"):
        run(k8s, tmp_path, objective=Stub(breaks=(0,)))
    assert not katib.created


def _until(holds: Callable[[], bool]) -> None:
    wait_for(holds, "what the double does", pause=0.01)


def _run_until(k8s: Cluster, folder: Path, searched: Any, holds: Callable[[], bool]) -> None:
    """Follow until something holds, and leave the Experiment, as a pod does that is lost."""
    found = engine(searched, search_id=ID, folder=folder.as_uri(), question="q", space=SPACE, katib=client(k8s))
    assert found is not None

    class Lost(KatibSearch):
        def _wait(self) -> None:
            if holds():
                raise SystemExit

    Lost(**{**vars(found), "poll": 0.01}).run(searched)
