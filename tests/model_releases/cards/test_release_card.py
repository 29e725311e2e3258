"""What the release card shows."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from model_releases.cards.release_card import curl_line, render_card
from model_releases.memory.failures import Failure
from model_releases.memory.outcome import Outcome, OutcomeKind, RollBackResult

EXAMPLE = b'{"instances": ["it\'s good"]}'
ENDPOINT = "http://127.0.0.1:8085/v1/models/reviews:predict"


def outcome(kind: OutcomeKind, **settings: Any) -> Outcome:
    given = {"line": "accepted: macro F1 0.9312", "serving_now": "20260102000000", "endpoint": ENDPOINT, **settings}
    return Outcome(model="reviews", version="20260102000000", kind=kind, **given)


def test_a_release_is_shown_on_one_screen() -> None:
    links = {"DAG run": "http://airflow/dags/a/runs/b"}
    figures = [
        ("on the same rows", "candidate", "live", "baseline", "needed"),
        ("macro F1", "0.9300", "0.9200", "0.8500", ">= 0.9100"),
        ("log loss", "0.2500", "0.2500", "0.2500", ""),
    ]
    seconds = {"check": 1.04, "train": 21.3}
    released = outcome(OutcomeKind.RELEASED, links=links)
    card = render_card(released, figures=figures, example=EXAMPLE, seconds=seconds)
    assert [line for line in card.splitlines() if line and "─" not in line] == [
        "Release of reviews 20260102000000: RELEASED",
        "accepted: macro F1 0.9312",
        "on the same rows  candidate    live  baseline     needed",
        "macro F1             0.9300  0.9200    0.8500  >= 0.9100",
        "log loss             0.2500  0.2500    0.2500",
        "step       seconds",
        "check          1.0",
        "train         21.3",
        "all steps     22.3",
        "serving now   20260102000000",
        f"endpoint      {ENDPOINT}",
        f"try it        {curl_line(ENDPOINT, EXAMPLE)}",
        "DAG run       http://airflow/dags/a/runs/b",
    ]


def test_a_failure_before_there_is_a_candidate_is_shown_without_empty_tables() -> None:
    failed = outcome(
        OutcomeKind.FAILED,
        line="Task train failed: out of memory",
        failure=Failure(task_id="train", error="RunFailedError", message="out of memory"),
        roll_back=RollBackResult.NOT_NEEDED,
    )
    card = render_card(failed, figures=(), example=b"", seconds={})
    assert "REVIEWS" not in card
    assert "FAILED\nTask train failed: out of memory" in card
    assert "roll back     not needed: nothing had been deployed" in card
    assert "curl" not in card
    assert "seconds" not in card


class Predictor(BaseHTTPRequestHandler):
    """Gives back what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([self.path, self.headers["Content-Type"], json.loads(body)]).encode())

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Predictor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/reviews:predict"
        server.shutdown()


@pytest.mark.processes
def test_the_curl_line_works_as_it_stands(endpoint: str) -> None:
    answer = subprocess.run(
        curl_line(endpoint, EXAMPLE), shell=True, capture_output=True, check=True, timeout=30
    ).stdout
    assert json.loads(answer) == ["/v1/models/reviews:predict", "application/json", json.loads(EXAMPLE)]


def test_an_outcome_survives_the_way_through_an_xcom() -> None:
    failure = Failure(task_id="verify", error="CheckFailedError", message="m", check="c", expected="e", got="g")
    given = outcome(
        OutcomeKind.FAILED,
        failure=failure,
        roll_back=RollBackResult.FAILED,
        roll_back_failure=failure,
        links={"registry": "http://mlflow"},
    )
    assert Outcome.from_json(json.loads(json.dumps(given.to_json()))) == given
    plain = outcome(OutcomeKind.REJECTED)
    assert Outcome.from_json(json.loads(json.dumps(plain.to_json()))) == plain
