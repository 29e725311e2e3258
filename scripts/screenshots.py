"""Takes the pictures of docs/ from a running Airflow, in the system's Chromium."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from environment import PROJECT, environment, state_dir
from playwright.sync_api import Page, sync_playwright

IMAGES = PROJECT / "docs" / "images"
DAG_ID = "release_sample_reviews"


def sign_in(page: Page, url: str, password: str) -> None:
    """Sign in as admin."""
    page.goto(f"{url}/auth/login")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/auth/" not in address)


def take(page: Page, url: str, path: str, name: str, *, wait_for: str) -> None:
    """Open a page of the UI and keep a picture of it."""
    page.goto(f"{url}{path}")
    page.get_by_text(wait_for, exact=False).first.wait_for()
    page.wait_for_timeout(2500)  # the graph is laid out after the data has come
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


def main() -> None:
    """Take every picture."""
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
        take(page, url, f"/dags/{DAG_ID}/trigger/single", "trigger-form", wait_for="Training data")
        run = page.request.get(f"{url}/api/v2/dags/{DAG_ID}/dagRuns?state=success&order_by=-run_after&limit=1").json()
        if not run["dag_runs"]:
            sys.exit(f"No finished run of {DAG_ID} yet: trigger one first.")
        run_id = run["dag_runs"][0]["dag_run_id"]
        take(page, url, f"/dags/{DAG_ID}/runs/{run_id}", "finished-run", wait_for="report")
        take(page, url, f"/dags/{DAG_ID}/runs/{run_id}/tasks/report", "release-card", wait_for="curl")
        browser.close()


if __name__ == "__main__":
    main()
