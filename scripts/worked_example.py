"""Plays docs/worked-example.md: a better, a worse and a broken candidate, released by a real Airflow, with pictures.

Needs labelled reviews with five classes, a pretrained encoder and Chromium:

    TRAIN=/path/train.csv BASE_MODEL=/path/encoder STATE_DIR=/tmp/example python scripts/worked_example.py

Airflow is left running (`make stop` ends it): a second call goes on where the first one was broken off, and takes the
pictures again without training when all of it was played.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from airflow_process import airflow_processes, start_airflow
from environment import PROJECT, environment, state_dir
from only_one import one_starter
from playwright.sync_api import Browser, Page, sync_playwright
from screenshots import IMAGES, sign_in

MODEL = "yelp-reviews"
DAG_ID = "release_yelp_reviews"

#: What each release is started with, in this order. For the broken one somebody has opened the gate wide, and a
#: prediction may take no longer than a thousandth of a millisecond: the smoke test has to stop it.
RELEASES: dict[str, dict[str, Any]] = {
    "first": {"epochs": 1},
    "better": {"epochs": 3},
    "worse": {"epochs": 1},
    "broken": {"epochs": 1, "max_regression": 1},
}
_TIMEOUT_MS = 300_000  # a training takes every core that there is
_IMPOSSIBLE_LATENCY_MS = 0.001


class Receiver(BaseHTTPRequestHandler):
    """Keeps the alerts that it is sent."""

    alerts: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        self.alerts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the alerts are printed."""


class Airflow:
    """The running Airflow, through its REST API.

    :param page: of a browser that has signed in.
    :param url: address of Airflow.
    :param password: of the user admin.
    """

    def __init__(self, page: Page, url: str, password: str) -> None:
        login = {"username": "admin", "password": password}
        token = page.request.post(f"{url}/auth/token", data=login).json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}
        self._request = page.request
        self.url = url

    def get(self, path: str) -> Any:
        return self._request.get(f"{self.url}/api/v2/{path}", headers=self._headers, timeout=_TIMEOUT_MS).json()

    def release(self, conf: dict[str, Any]) -> dict[str, Any]:
        """Start a release, unless it is running already, and return its DAG run when it is over."""
        runs = self.get(f"dags/{DAG_ID}/dagRuns?state=running")["dag_runs"]
        if not runs:
            body = {"logical_date": None, "conf": conf}
            where = f"{self.url}/api/v2/dags/{DAG_ID}/dagRuns"
            runs = [self._request.post(where, headers=self._headers, data=body, timeout=_TIMEOUT_MS).json()]
        (run,) = runs
        while run["state"] in ("queued", "running"):
            time.sleep(5)
            run = self.get(f"dags/{DAG_ID}/dagRuns/{run['dag_run_id']}")
        return run

    def wait_for_dag(self, version: int) -> None:
        """Wait until Airflow has read the model's file again."""
        while self.dag_version() <= version:
            time.sleep(5)

    def dag_version(self) -> int:
        """Return the number of the DAG's newest version; 0 before there is one."""
        versions = self.get(f"dags/{DAG_ID}/dagVersions?order_by=-version_number&limit=1").get("dag_versions")
        return int(versions[0]["version_number"]) if versions else 0


def write_model(folder: Path, *, is_broken: bool = False) -> None:
    """Write the model's file: the project's own, with the data and the encoder that were given."""
    settings = yaml.safe_load((PROJECT / "include" / "models" / f"{MODEL}.yaml").read_text())
    settings["data"] |= {"train": os.environ["TRAIN"], "evaluation": [], "evaluation_fraction": 0.4}
    settings["training"] |= {"base_model": os.environ["BASE_MODEL"], "learning_rate": 2e-4, "max_length": 96}
    settings["gate"] |= {"min_macro_f1": 0.1, "must_beat_baseline": False}
    if is_broken:
        settings["gate"]["max_slice_regression"] = 1
        settings["smoke_test"] = {"max_latency_ms": _IMPOSSIBLE_LATENCY_MS}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))


def read_story(folder: Path) -> dict[str, Any]:
    """Return what became of the releases that are over."""
    file = folder / "story.json"
    return json.loads(file.read_text()) if file.exists() else {}


def play(airflow: Airflow, folder: Path) -> dict[str, Any]:
    """Run the releases that are not over, and return what became of all."""
    story = read_story(folder)
    for name, conf in RELEASES.items():
        if name in story:
            continue
        if name == "broken":
            version = airflow.dag_version()
            write_model(folder / "models", is_broken=True)
            airflow.wait_for_dag(version)
        Receiver.alerts.clear()
        print(f"{name}: {conf}", flush=True)
        run = airflow.release(conf)
        where = f"dags/{DAG_ID}/dagRuns/{run['dag_run_id']}/taskInstances"
        outcome = airflow.get(f"{where}/report/xcomEntries/outcome?deserialize=true")["value"]
        outcome = json.loads(outcome) if isinstance(outcome, str) else outcome
        story[name] = {"run_id": run["dag_run_id"], "state": run["state"], **outcome, "alerts": list(Receiver.alerts)}
        (folder / "story.json").write_text(json.dumps(story, indent=2))
        print(json.dumps(story[name], indent=2), flush=True)
    return story


def keep(page: Page, address: str, name: str, *, height: int = 900) -> None:
    """Keep a picture of an address.

    :param height: in pixels, from the top of the page.
    """
    page.set_viewport_size({"width": 1180, "height": height})
    page.goto(address)
    while page.get_by_text("could not be read").count():  # a registry that was not asked for a while takes seconds
        page.reload()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png", flush=True)


def take_pictures(browser: Browser, url: str, password: str, story: dict[str, Any]) -> None:
    """Take the pictures of docs/worked-example.md."""
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    sign_in(page, url, password)
    model = f"{url}/releases/models/{MODEL}"
    keep(page, model, "worked-example-releases", height=1000)
    for name, told in story.items():
        if name != "first":
            # Above the facts: they name folders of the machine.
            keep(page, f"{model}/versions/{told['version']}", f"worked-example-{name}", height=610)
            keep(page, f"{model}/versions/{told['version']}/report", f"worked-example-{name}-report")
    compared = f"one={story['first']['version']}&other={story['better']['version']}"
    keep(page, f"{model}/compare?{compared}", "worked-example-compare", height=632)


def main() -> None:
    """Play it, unless it was played already, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not os.environ.get("TRAIN") or not os.environ.get("BASE_MODEL"):
        sys.exit("Set TRAIN (CSV) and BASE_MODEL (folder of an encoder), and install your system's package `chromium`.")
    sys.path.insert(0, str(PROJECT))
    folder = state_dir() / "worked-example"
    receiver = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("ALERT_PORT") or 8099)), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    os.environ["ALERT_URL"] = f"json://127.0.0.1:{receiver.server_port}/alerts"
    os.environ["MODELS_DIR"] = str(folder / "models")
    env = environment(
        state_dir(),
        airflow_port=int(os.environ.get("AIRFLOW_PORT") or 8080),
        serving_port=int(os.environ.get("SERVING_PORT") or 8085),
    )
    os.environ.update(env)
    if not folder.exists():
        if airflow_processes(env):
            sys.exit("Airflow is running already, with other settings: make stop")
        write_model(folder / "models")
    with one_starter(state_dir()):
        start_airflow(env)
    url = env["AIRFLOW__API__BASE_URL"]
    password = json.loads(Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())["admin"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        airflow = Airflow(page, url, password)
        airflow.wait_for_dag(0)
        take_pictures(browser, url, password, play(airflow, folder))
        browser.close()
    receiver.shutdown()


if __name__ == "__main__":
    main()
