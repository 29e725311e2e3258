"""The provider's connection forms, and what the Test button says, in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from kubeflow_provider.get_provider_info import get_provider_info
from tests.airflow_server import AirflowServer, Serve
from tests.browser import PATIENCE_MS, browser
from tests.doubles.kfp_server import kfp_server

pytestmark = [pytest.mark.airflow, pytest.mark.long]

__all__ = ("browser",)  # a fixture

TYPES = {kind["hook-name"]: kind for kind in get_provider_info()["connection-types"]}


@pytest.fixture(scope="module")
def airflow(serve: Serve) -> AirflowServer:
    return serve({}, {}, ())


@pytest.fixture
def page(airflow: AirflowServer, browser: Browser) -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{airflow.url}/connections")
    yield page
    context.close()


def open_form(page: Page, hook_name: str) -> Locator:
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name=hook_name, exact=True).click()
    return form


@pytest.mark.parametrize("hook_name", TYPES)
def test_a_form_shows_and_explains_every_field_in_order_and_hides_secrets(page: Page, hook_name: str) -> None:
    kind = TYPES[hook_name]
    form = open_form(page, hook_name)
    words = kind["ui-field-behaviour"]
    for name in ("host", "login", "password", "port", "schema"):
        label = words["relabeling"].get(name, name.capitalize())
        expect(form.get_by_text(label, exact=True)).to_be_visible()
        expect(form.locator(f"[name={name}]")).to_have_attribute("placeholder", words["placeholders"][name])
    expect(form.locator("[name=password]")).to_have_attribute("type", "password")

    form.get_by_role("button", name="Extra Fields", exact=True).click()
    fields = kind["conn-fields"]
    for name, field in fields.items():
        expect(form.get_by_text(field["description"], exact=True)).to_be_visible()
        kept = form.locator(f"[name=element_{name}]")
        if field["schema"].get("format") == "password":
            expect(kept).to_have_attribute("type", "password")
    names = form.locator("[name^=element_]").evaluate_all("inputs => inputs.map(input => input.name)")
    assert names == [f"element_{name}" for name in fields]


def test_the_test_button_tells_people_what_is_wrong(airflow: AirflowServer, page: Page) -> None:
    with kfp_server(multi_user=True, prefix="/pipeline") as server:
        # Airflow's page sends 0 for a port that is not there, and then refuses to test what is saved.
        there = {"host": "http://127.0.0.1", "port": server.port, "extra": '{"namespace": "team"}'}
        connection = {"connection_id": "without_path", "conn_type": "kubeflow_pipelines", **there}
        airflow.call("POST", "/connections", connection)
        page.reload()
        page.get_by_role("row", name="without_path").get_by_role("button", name="Test Connection").click()

        expect(page.get_by_text("on a Kubeflow platform the API is at https://.../pipeline")).to_be_visible()
