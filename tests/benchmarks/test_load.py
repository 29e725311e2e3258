"""Users of a benchmark: what they send, what they count, and when they stop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from benchmarks.load import Answer, Target, ask, asking, figures, percentile


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """A server that answers with what it was sent in capitals, and refuses what is ``bad``."""
    seen = SimpleNamespace(bodies=Counter(), connections=set())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.bodies[body.decode()] += 1
            seen.connections.add(self.client_address)
            self.send_response(503 if body == b"bad" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.upper())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        seen.target = Target(url=f"http://127.0.0.1:{running.server_port}/classify")
        yield seen
        running.shutdown()
        thread.join()


def test_each_text_is_sent_once_and_answers_come_in_their_order(server: SimpleNamespace) -> None:
    bodies = [f"text {number}" for number in range(20)]
    answers = ask(server.target, bodies, clients=3)

    assert [answer.body for answer in answers] == [body.upper() for body in bodies]
    assert [answer.row for answer in answers] == list(range(20))
    assert {answer.status for answer in answers} == {200}
    assert server.bodies == Counter(bodies)
    assert len(server.connections) <= 3, "a client keeps its connection"


def test_some_ask_until_they_are_told_to_stop(server: SimpleNamespace) -> None:
    with asking(server.target, ["good", "bad"], clients=2) as answers:
        while server.bodies.total() < 10:
            threading.Event().wait(0.01)
        assert answers.found == []

    assert len(answers.found) == server.bodies.total() >= 10
    assert len(answers.failed) == server.bodies["bad"]
    assert answers.failures == {"503: BAD": server.bodies["bad"]}


def test_where_nobody_answers_requests_fail() -> None:
    (answer,) = ask(Target(url="http://127.0.0.1:9/classify"), ["text"], clients=1)

    assert answer.status == 0
    assert "refused" in answer.body


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (95, 10), (90, 9), (99, 10), (1, 1)])
def test_percentiles_are_figures_that_were_measured(percent: float, expected: float) -> None:
    assert percentile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], percent) == expected


def test_figures_are_of_all_clients_together() -> None:
    # Two clients side by side for two seconds.
    answers = [Answer(row=0, began=began, seconds=seconds, status=200) for began, seconds in ((0, 1), (1, 1), (0, 2))]

    assert figures(answers) == {"requests": 1.5, "p50": 1000, "p95": 2000, "p99": 2000}
