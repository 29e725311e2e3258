"""The oddities of recurring runs, asked for without our own hook; over a real server as well, as the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import kfp_server_api
import pytest

from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.cron import parse_cron
from tests.doubles.kfp_server_tests.conftest import V2, upload, where

PATH = f"{V2}/recurringruns"
Ask = Callable[..., httpx.Response]
#: What a test does to the double cannot be done to a real server.
only_the_double = pytest.mark.parametrize("client", ["double"], indirect=True)


@pytest.fixture
def create(client: httpx.Client, experiment: dict[str, Any], reference: dict[str, str]) -> Iterator[Ask]:
    """Return ``create(**fields)``, whose recurring runs are deleted in the end; none is due in this century."""
    made: list[str] = []

    def create(**fields: Any) -> httpx.Response:
        body = {
            "display_name": "a test",
            "experiment_id": experiment["experiment_id"],
            "pipeline_version_reference": reference,
            "runtime_config": {"parameters": {"file": "/tmp/recorded"}},
            "trigger": {"cron_schedule": {"cron": "0 0 3 * * 1", "start_time": "2100-01-01T00:00:00Z"}},
            "max_concurrency": "1",
            "mode": "ENABLE",
        } | fields
        answer = client.post(PATH, json={name: value for name, value in body.items() if value is not None})
        if answer.status_code == 200:
            made.append(answer.json()["recurring_run_id"])
        return answer

    yield create
    for recurring_run_id in made:
        client.delete(f"{PATH}/{recurring_run_id}")


def test_one_is_shown_as_it_was_made(create: Ask, client: httpx.Client, reference: dict[str, str]) -> None:
    body = create(recurring_run_id=str(uuid4()), description="nightly").json()

    assert client.get(f"{PATH}/{body['recurring_run_id']}").json() == body
    assert (body["status"], body["mode"], body["max_concurrency"]) == ("ENABLED", "ENABLE", "1")
    assert body["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1", "start_time": "2100-01-01T00:00:00Z"}}
    assert body["pipeline_version_reference"] == reference
    assert body["runtime_config"] == {"parameters": {"file": "/tmp/recorded"}}
    assert body["namespace"], "on a single-user server as well"
    assert "no_catchup" not in body


def test_names_are_not_unique_and_ids_are_the_servers(create: Ask) -> None:
    mine = str(uuid4())

    ids = {create(recurring_run_id=mine).json()["recurring_run_id"] for _ in range(2)}

    assert len(ids) == 2
    assert mine not in ids


def test_whoever_names_no_mode_gets_a_paused_one(create: Ask) -> None:
    assert create(mode=None).json()["status"] == "DISABLED"


def test_one_is_switched_as_often_as_one_likes(create: Ask, client: httpx.Client) -> None:
    path = f"{PATH}/{create().json()['recurring_run_id']}"
    for verb, status in (
        ("disable", "DISABLED"),
        ("disable", "DISABLED"),
        ("enable", "ENABLED"),
        ("enable", "ENABLED"),
    ):
        answer = client.post(f"{path}:{verb}")

        assert (answer.status_code, answer.json()) == (200, {})
        assert client.get(path).json()["status"] == status


def test_one_is_deleted_once(create: Ask, client: httpx.Client) -> None:
    path = f"{PATH}/{create().json()['recurring_run_id']}"

    answers = [client.delete(path, params={"propagation_policy": "ORPHAN"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].json() == {}
    assert client.get(path).status_code == 404
    assert {client.post(f"{path}:{verb}").status_code for verb in ("enable", "disable")} == {404}


def test_the_newest_version_is_that_of_each_run(create: Ask, reference: dict[str, str]) -> None:
    body = create(pipeline_version_reference={"pipeline_id": reference["pipeline_id"]}).json()

    assert body["pipeline_version_reference"] == {"pipeline_id": reference["pipeline_id"]}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"unheard_of": 1}, 400),
        ({"display_name": ""}, 500),
        ({"experiment_id": str(uuid4())}, 404),
        ({"max_concurrency": None}, 400),
        ({"max_concurrency": "11"}, 400),
        ({"trigger": {"cron_schedule": {"cron": "0 3 * *"}}}, 400),
        ({"trigger": {"cron_schedule": {"cron": "0 0 3 * * 7"}}}, 400),
        ({"trigger": {"cron_schedule": {"cron": "@once"}}}, 400),
        ({"trigger": {"periodic_schedule": {"interval_second": "0"}}}, 400),
        ({"pipeline_version_reference": {"pipeline_id": str(uuid4()), "pipeline_version_id": str(uuid4())}}, 500),
        ({"pipeline_version_reference": {"pipeline_id": str(uuid4())}}, 404),
        ({"pipeline_version_reference": None}, 500),
        ({"runtime_config": {"parameters": {}}}, 400),
        ({"runtime_config": {"parameters": {"file": "x", "unheard_of": "3"}}}, 400),
    ],
)
def test_refusals_have_these_codes(create: Ask, fields: dict[str, Any], status: int) -> None:
    answer = create(**fields)

    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize("cron", ["0 3 * * 1", "0 0 3 * * 1", "0 0 3 ? jan-mar mon", "@weekly", "@every 90m"])
def test_five_fields_are_taken_as_well(create: Ask, cron: str) -> None:
    trigger = {"cron_schedule": {"cron": cron, "start_time": "2100-01-01T00:00:00Z"}}

    assert create(trigger=trigger).json()["trigger"] == trigger


def test_of_five_fields_the_first_is_the_second() -> None:
    five, six = parse_cron("0 3 * * 1"), parse_cron("0 0 3 * * 1")

    assert (five["second"], five["minute"], five["month"], five["weekday"]) == ({0}, {3}, {1}, set(range(7)))
    assert (six["minute"], six["hour"], six["month"], six["weekday"]) == ({0}, {3}, set(range(1, 13)), {1})
    assert parse_cron("*/20 5/30 1-5/2 1,15 feb sun-tue") == {
        "second": {0, 20, 40},
        "minute": {5, 35},
        "hour": {1, 3, 5},
        "day": {1, 15},
        "month": {2},
        "weekday": {0, 1, 2},
    }


@pytest.mark.parametrize(
    "cron", ["", "1-2-3 * * * *", "1/2/3 * * * *", "* * * 0 *", "5-1 * * * *", "*/0 * * * *", "a * * * *"]
)
def test_what_the_parser_does_not_understand(cron: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_cron(cron)


def test_they_are_listed_page_by_page(create: Ask, client: httpx.Client, experiment: dict[str, Any]) -> None:
    names = [f"test {uuid4()} + 100%" for _ in range(3)]
    for name in names:
        create(display_name=name)
    scope = {"experiment_id": experiment["experiment_id"]}

    first = client.get(PATH, params={"page_size": 2, **scope}).json()
    second = client.get(PATH, params={"page_size": 2, "page_token": first["next_page_token"], **scope}).json()
    filtered = client.get(PATH, params={"filter": quote(where(names[1])), **scope}).json()
    unknown = client.get(PATH, params={"experiment_id": str(uuid4())})

    listed = [row["display_name"] for page in (first, second) for row in page["recurringRuns"]]
    assert sorted(listed) == sorted(names)
    assert (first["total_size"], "next_page_token" in second) == (3, False)
    assert [row["display_name"] for row in filtered["recurringRuns"]] == [names[1]]
    assert unknown.status_code == 404


@only_the_double
def test_what_kubernetes_has_lost_can_be_deleted_and_not_be_switched(double: KfpServer, create: Ask) -> None:
    recurring_run_id = create().json()["recurring_run_id"]
    double.api.scheduled_workflows.clear()
    path = f"{PATH}/{recurring_run_id}"

    with httpx.Client(base_url=double.url) as client:
        statuses = [client.post(f"{path}:{verb}").status_code for verb in ("enable", "disable")]
        statuses.append(client.delete(path).status_code)

    assert statuses == [500, 500, 200]


@only_the_double
def test_a_description_that_is_too_long_leaves_a_schedule_without_a_row(double: KfpServer, create: Ask) -> None:
    assert create(description="x" * 256).status_code == 500
    assert (len(double.api.scheduled_workflows), double.recurring_runs) == (1, {})


def test_a_server_before_2_5_takes_the_newest_version_once_for_all(record_and_wait: str) -> None:
    with kfp_server(version="2.4.0") as double, httpx.Client(base_url=double.url) as client:
        pipeline = client.post(f"{V2}/pipelines", json={"display_name": "test"}).json()
        version = upload(client, pipeline["pipeline_id"], "first", record_and_wait).json()
        body = {
            "display_name": "a test",
            "pipeline_version_reference": {"pipeline_id": pipeline["pipeline_id"]},
            "runtime_config": {"parameters": {"file": "x"}},
            "max_concurrency": "1",
        }
        made = client.post(PATH, json=body).json()

    assert made["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]


def test_rights_are_those_of_jobs() -> None:
    with kfp_server(multi_user=True, refused_verbs=("list",)) as double:
        answer = httpx.get(f"{double.url}{PATH}", params={"namespace": "team"})

    assert answer.status_code == 403
    assert "list jobs in team" in answer.text


@only_the_double
def test_the_published_client_understands_the_double(double: KfpServer, create: Ask) -> None:
    recurring_run_id = create().json()["recurring_run_id"]
    api = kfp_server_api.RecurringRunServiceApi(kfp_server_api.ApiClient(kfp_server_api.Configuration(host=double.url)))

    api.recurring_run_service_disable_recurring_run(recurring_run_id)
    (listed,) = api.recurring_run_service_list_recurring_runs().recurring_runs

    assert (listed.recurring_run_id, listed.status) == (recurring_run_id, "DISABLED")
    assert listed.trigger.cron_schedule.cron == "0 0 3 * * 1"
