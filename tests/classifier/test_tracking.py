"""Records reach a real MLflow on SQLite, and trouble with it never costs a training."""

from __future__ import annotations

import traceback

import pytest

from include.classifier.tracking import TrackingError, resume, tracked_run

pytestmark = pytest.mark.computes


@pytest.fixture
def store(tmp_path):
    return f"sqlite:///{tmp_path}/mlflow/mlflow.db"


def test_nothing_is_recorded_without_a_tracking_uri():
    with tracked_run("", experiment="reviews", name="first") as tracker:
        tracker.log_params({"epochs": 3})
        assert tracker.run_id is None
    resume("", None).log_file("a.png", b"png")


def test_settings_curve_and_files_reach_mlflow(store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    with tracked_run(store, experiment="reviews", name="first", tags={"version": "1"}) as tracker:
        tracker.log_params({"epochs": 3})
        tracker.log_metrics({"loss": 0.9}, step=1)
        tracker.log_metrics({"loss": 0.5}, step=2)
    resumed = resume(store, tracker.run_id)
    resumed.log_file("matrix.png", b"png")
    assert resumed.curve("loss") == [(1, 0.9), (2, 0.5)]
    assert resumed.curve("never_logged") == []

    client = MlflowClient(store)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert (run.data.params["epochs"], run.data.tags["version"]) == ("3", "1")
    assert [(point.step, point.value) for point in client.get_metric_history(tracker.run_id, "loss")] == [
        (1, 0.9),
        (2, 0.5),
    ]
    kept = tmp_path / "mlflow" / "artifacts" / "reviews" / tracker.run_id / "artifacts" / "matrix.png"
    assert kept.read_bytes() == b"png"
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.long
def test_two_runs_share_an_experiment(store):
    with tracked_run(store, experiment="reviews", name="first") as first:
        pass
    with tracked_run(store, experiment="reviews", name="second") as second:
        pass
    assert first.run_id != second.run_id


@pytest.mark.long
def test_a_failed_training_is_recorded_as_failed(store):
    from mlflow import MlflowClient

    with pytest.raises(ValueError, match="stop"), tracked_run(store, experiment="reviews", name="first") as tracker:
        raise ValueError("stop")
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FAILED"


@pytest.mark.long
def test_a_training_that_goes_on_is_one_run_with_one_curve(store):
    from mlflow import MlflowClient

    with pytest.raises(KeyboardInterrupt), tracked_run(store, experiment="reviews", name="first") as tracker:
        tracker.log_params({"epochs": 3})
        tracker.log_metrics({"loss": 0.5}, step=1)
        tracker.log_metrics({"loss": 0.4}, step=2)
        raise KeyboardInterrupt
    with tracked_run(store, experiment="reviews", name="first", run_id=tracker.run_id) as again:
        again.log_params({"epochs": 3})
        again.log_metrics({"loss": 0.4}, step=2)
        again.log_metrics({"loss": 0.3}, step=3)
        assert again.curve("loss") == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert again.run_id == tracker.run_id
    assert MlflowClient(store).get_run(tracker.run_id).info.status == "FINISHED"

    with tracked_run(store, experiment="reviews", name="first", run_id="unknown") as other:
        assert other.run_id not in (None, "unknown")


def test_trouble_after_the_start_is_printed_once_and_training_goes_on(store, tmp_path, capsys):
    import sqlite3

    with tracked_run(store, experiment="reviews", name="first") as tracker:
        with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
            database.execute("DROP TABLE params")
        tracker.log_params({"epochs": 3})
        tracker.log_params({"epochs": 3})
    assert capsys.readouterr().out.count("going on without") == 1


def test_a_server_that_is_away_stops_the_training_before_it_starts(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9") as error,
        tracked_run("http://me:secret@127.0.0.1:9", experiment="reviews", name="first"),
    ):
        pass
    assert "secret" not in "".join(traceback.format_exception(error.value)), "as the log of the step shows it"
