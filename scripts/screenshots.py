"""Takes the pictures of docs/, and of the provider's pages, from a running Airflow, in the system's Chromium."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from environment import PROJECT, environment, state_dir
from playwright.sync_api import Locator, Page, sync_playwright

sys.path.insert(0, str(PROJECT))  # the server that a connection is tested with is a test double

IMAGES = PROJECT / "docs" / "images"
PROVIDER_IMAGES = PROJECT / "plugins" / "kubeflow_provider" / "docs" / "images"
MODEL, DAG_ID = "sample-reviews", "release_sample_reviews"


def sign_in(page: Page, url: str, password: str) -> None:
    """Sign in as admin."""
    page.goto(f"{url}/auth/login")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/auth/" not in address)


def keep(page: Page | Locator, name: str, folder: Path = IMAGES) -> None:
    """Keep a picture of what is shown."""
    (page if isinstance(page, Page) else page.page).wait_for_timeout(
        3000
    )  # a graph is laid out after its data has come
    page.screenshot(path=folder / f"{name}.png")
    print((folder / f"{name}.png").relative_to(PROJECT))


def trigger_form(page: Page, url: str) -> None:
    """Open the form, and one section after the other: it shows one at a time."""
    page.goto(f"{url}/dags/{DAG_ID}")
    page.get_by_role("button", name="Trigger").first.click()
    for section in ("Data", "Gate", "Training"):
        page.get_by_role("dialog").get_by_role("button", name=section, exact=True).click()
        keep(page, f"trigger-form-{section.lower()}")


def headers_of(page: Page, url: str, login: dict[str, str]) -> dict[str, str]:
    """Return what a request to the REST API is sent with."""
    token = page.request.post(f"{url}/auth/token", data=login).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def connection_form(page: Page, hook_name: str) -> Locator:
    """Open the form for a new connection of a type."""
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name=hook_name, exact=True).click()
    return form


def provider_forms(page: Page, url: str, headers: dict[str, str]) -> None:
    """Show the provider's forms, and what the Test button says of an address that lacks its path."""
    from tests.doubles.kfp_server import kfp_server

    PROVIDER_IMAGES.mkdir(exist_ok=True)
    connections, name = f"{url}/api/v2/connections", "kubeflow_pipelines_default"
    with kfp_server(multi_user=True, prefix="/pipeline") as server:
        there = {"host": "http://127.0.0.1", "port": server.port, "extra": json.dumps({"namespace": "team"})}
        connection = {"connection_id": name, "conn_type": "kubeflow_pipelines", **there}
        page.request.post(connections, headers=headers, data=connection)
        page.set_viewport_size({"width": 900, "height": 460})
        page.goto(f"{url}/connections")
        page.get_by_role("row", name=name).get_by_role("button", name="Test Connection").click()
        page.get_by_text("Test Connection Failed").wait_for()
        page.screenshot(path=PROVIDER_IMAGES / "test-button.png")
    page.request.delete(f"{connections}/{name}", headers=headers)
    page.set_viewport_size({"width": 900, "height": 1000})
    page.goto(f"{url}/connections")
    keep(connection_form(page, "Kubeflow Pipelines"), "kubeflow-pipelines-form", PROVIDER_IMAGES)
    page.goto(f"{url}/connections")
    connection_form(page, "KServe").get_by_role("button", name="Extra Fields", exact=True).click()
    keep(page, "kserve-fields", PROVIDER_IMAGES)


def kubeflow_connection(page: Page, url: str, password: str) -> None:
    """Test a connection to a server that answers as Kubeflow's does, and open the form for a new one."""
    from tests.doubles.kfp_server import kfp_server

    connections = f"{url}/api/v2/connections"
    headers = headers_of(page, url, {"username": "admin", "password": password})
    with kfp_server(multi_user=True, prefix="/pipeline") as server:
        connection = {
            "connection_id": "kubeflow_team",
            "conn_type": "kubeflow_pipelines",
            "host": "http://127.0.0.1/pipeline",
            "port": server.port,
            "extra": json.dumps({"namespace": "team", "authentication": "none"}),
        }
        page.request.post(connections, headers=headers, data=connection)
        page.goto(f"{url}/connections")
        row = page.get_by_role("row", name="kubeflow_team")
        with page.expect_response(lambda response: response.url.endswith("/connections/test")) as answer:
            row.get_by_role("button", name="Test Connection").click()
        if not answer.value.json().get("status"):
            sys.exit(f"The Test button says: {answer.value.text()}")
        keep(page, "kubeflow-connection-test")
    connection_form(page, "Kubeflow Pipelines").get_by_role("button", name="Extra Fields", exact=True).click()
    keep(page, "kubeflow-connection")
    page.request.delete(f"{connections}/kubeflow_team", headers=headers)


def releases_page(page: Page, url: str) -> None:
    """Show the Releases page in Airflow's frame in light and dark, and on its own on a phone."""
    address = f"{url}/releases/models/{MODEL}"
    page.goto(address)
    page.locator("[data-pending]").first.wait_for(state="detached", timeout=120_000)
    for theme in ("light", "dark"):
        page.evaluate("choice => localStorage.setItem('theme', choice)", theme)
        page.goto(f"{url}/plugin/releases/releases/models/{MODEL}")
        page.frame_locator("iframe[title='Releases']").get_by_role("heading", name="History").wait_for()
        keep(page, f"releases-page-{theme}")
        page.goto(address)
    page.evaluate("localStorage.removeItem('theme')")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    keep(page, "releases-page-phone")


def first_start(page: Page, url: str) -> None:
    """Show the Releases page before anything was released."""
    page.goto(f"{url}/releases/")
    page.get_by_role("heading", name="Nothing has been").wait_for(timeout=120_000)
    page.goto(f"{url}/plugin/releases")
    page.frame_locator("iframe[title='Releases']").get_by_role("heading", name="Nothing has been").wait_for()
    keep(page, "releases-page-first")


def main() -> None:
    """Take every picture; before the first release only the one of the Releases page as it is then."""
    env = environment(state_dir(), airflow_port=int(os.environ.get("AIRFLOW_PORT") or 8080))
    url = env["AIRFLOW__API__BASE_URL"]
    password = json.loads(Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())["admin"]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Screenshots need Chromium: install your system's package `chromium`.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        sign_in(page, url, password)
        provider_forms(page, url, headers_of(page, url, {"username": "admin", "password": password}))
        newest = f"{url}/api/v2/dags/{DAG_ID}/dagRuns?state=success&order_by=-run_after&limit=1"
        run = page.request.get(newest).json()
        if not run["dag_runs"]:
            first_start(page, url)
            sys.exit(f"No finished run of {DAG_ID} yet: trigger one first.")
        page.set_viewport_size({"width": 1200, "height": 1250})
        trigger_form(page, url)
        page.set_viewport_size({"width": 1100, "height": 900})
        kubeflow_connection(page, url, password)
        page.set_viewport_size({"width": 1440, "height": 900})
        run_id = run["dag_runs"][0]["dag_run_id"]
        page.goto(f"{url}/dags/{DAG_ID}/runs/{run_id}")
        page.get_by_text("deploy_candidate").first.wait_for()
        keep(page, "finished-run")
        page.goto(f"{url}/dags/{DAG_ID}/runs/{run_id}/tasks/report")
        page.get_by_text("curl", exact=False).first.wait_for()
        keep(page, "release-card")
        page.set_viewport_size({"width": 1440, "height": 1250})
        releases_page(page, url)
        browser.close()


if __name__ == "__main__":
    main()
