"""The page of numbers of several servers is one that Prometheus reads: each name once, each sample with its version."""

from __future__ import annotations

from local_services.native_server.metrics import joined

PAGE = """\
# HELP model_server_info Which model is served.
# TYPE model_server_info gauge
model_server_info{model="toy",version="1"} 1
# HELP model_server_requests_total Answers.
# TYPE model_server_requests_total counter
model_server_requests_total{route="v1",code="200"} 3
# HELP model_server_ready Whether it should be sent requests.
# TYPE model_server_ready gauge
model_server_ready 1
"""

JOINED = """\
# HELP model_server_info Which model is served.
# TYPE model_server_info gauge
model_server_info{model="toy",version="1"} 1
model_server_info{model="toy",version="2"} 1
# HELP model_server_requests_total Answers.
# TYPE model_server_requests_total counter
model_server_requests_total{model="toy",version="1",route="v1",code="200"} 3
model_server_requests_total{model="toy",version="2",route="v1",code="200"} 3
# HELP model_server_ready Whether it should be sent requests.
# TYPE model_server_ready gauge
model_server_ready{model="toy",version="1"} 1
model_server_ready{model="toy",version="2"} 1
"""


def test_each_name_stands_there_once_and_each_sample_says_of_what_it_is() -> None:
    pages = [(PAGE.replace('"1"', f'"{number}"'), {"model": "toy", "version": number}) for number in ("1", "2")]
    assert joined(pages) == JOINED


def test_no_server_makes_an_empty_page() -> None:
    assert joined([]) == ""
