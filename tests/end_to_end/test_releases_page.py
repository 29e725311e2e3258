"""The Releases page in a browser, against a running Airflow with three users."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect

from model_releases import ids
from tests.browser import PATIENCE_MS, browser
from tests.end_to_end.releases_world import (
    BROKEN,
    BUSY_MODEL,
    ELSEWHERE,
    FAILURE,
    FIRST,
    GATE_LINE,
    HOSTILE_MODEL,
    HOSTILE_RUN,
    HOSTILE_VERSION,
    HOSTILE_WORDS,
    HURT,
    LIVE,
    MODEL,
    NEW_MODEL,
    REJECTED,
    ROLLING,
    ROOT,
    TAKEN_BACK,
    ReleasesWorld,
    busy_version,
    register_hostile,
    releases_world,
)

# What a browser adds to tests/model_releases/releases_page, which asks the same pages without one.
pytestmark = [pytest.mark.airflow, pytest.mark.long]

__all__ = ("browser",)  # a fixture

ROLL_BACK = ids.roll_back_dag(MODEL)

Visit = Callable[..., Page]

_WRITE_HOSTILE_REPORT = """
import json, sys
from include.classifier.report.page import make_report
from tests.classifier.made_up_evaluation import made_up_evaluation
words = json.load(sys.stdin)
found, document = made_up_evaluation(words, texts=words)
sys.stdout.write(make_report(found, document).page)
"""


@pytest.fixture(scope="module", params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.postgresql)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleasesWorld]:
    database = request.getfixturevalue("postgresql").new_database() if request.param == "PostgreSQL" else ""
    with releases_world(tmp_path_factory.mktemp("releases"), database) as running:
        yield running


@pytest.fixture
def visit(world: ReleasesWorld, browser: Browser) -> Iterator[Visit]:
    """Return ``visit(path, user)``, which opens a page in a session of its own; ``None`` is nobody's."""
    contexts: list[BrowserContext] = []
    expect.set_options(timeout=PATIENCE_MS)

    def open_page(path: str, user: str | None = "ada", **settings: Any) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if user:
            context.add_cookies([{"name": "_token", "value": world.token(user), "url": world.url}])
        page = context.new_page()
        page.goto(f"{world.url}{path}")
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()


def settle(page: Page) -> None:
    """Wait until a slow service has answered; the page reloads itself until then."""
    expect(page.locator("[data-pending]")).to_have_count(0)


def rows(page: Page) -> dict[str, str]:
    """Return version -> text of its row in the history."""
    texts = page.locator(".history tbody tr").all_inner_texts()
    return {match.group(): text for text in texts if (match := re.search(r"\d{14}", text))}


def plain_get(url: str) -> tuple[int, str]:
    """Ask as a program without any session."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/models/{MODEL}",
        f"/models/{MODEL}/versions/{FIRST}",
        f"/models/{MODEL}/versions/{FIRST}/report",
        f"/models/{MODEL}/compare?one={FIRST}&other={LIVE}",
        "/models/unknown",
        "/static/releases.css",
    ],
)
def test_without_a_session_there_is_nothing(world: ReleasesWorld, path: str) -> None:
    status, body = plain_get(f"{world.url}/releases{path}")
    assert (status, json.loads(body)) == (401, {"detail": "Not authenticated"})


def test_without_a_session_nothing_can_be_rolled_back(world: ReleasesWorld) -> None:
    form = f"version={FIRST}&reason=none".encode()
    request = urllib.request.Request(
        f"{world.url}/releases/models/{MODEL}/roll-back", form, {"Origin": world.url}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=60)


def test_without_a_session_a_person_is_led_to_the_login_and_back(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}", None)
    page.get_by_label("Username").fill("vera")
    page.get_by_label("Password").fill("veravera")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name=MODEL)).to_be_visible()


def test_it_shows_what_is_live_the_rollout_and_the_history(visit: Visit) -> None:
    page = visit(f"/releases/models/{MODEL}", "vera")
    live = page.get_by_role("region", name="Live now")
    expect(live).to_contain_text(f"{LIVE}")
    expect(live).to_contain_text("80 % (live)")
    expect(live).to_contain_text(f"{ROLLING}")
    expect(live).to_contain_text("20 % (candidate)")
    expect(live).to_contain_text("curl -s http")
    expect(live.get_by_role("img", name=re.compile("Macro F1 over the releases"))).to_be_visible()
    expect(page.get_by_text(f"Release {ROLLING} is running: promote.")).to_be_visible()
    found = rows(page)
    assert list(found) == [ROLLING, BROKEN, LIVE, TAKEN_BACK, REJECTED, FIRST]
    assert GATE_LINE in found[REJECTED]
    assert "uli (manual)" in found[LIVE]
    assert FAILURE in found[BROKEN]
    states = page.locator(".history .state").all_inner_texts()
    assert states == ["◐ candidate", "▲ failed", "● live", "↩ rolled back", "✕ rejected", "○ retired"]


def test_a_viewer_has_no_button_and_is_refused(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}", "vera")
    assert rows(page)
    assert page.get_by_role("button", name=re.compile("Roll back")).count() == 0
    page.goto(f"{world.url}/releases/models/{MODEL}/versions/{FIRST}")
    assert page.get_by_role("button", name=re.compile("Roll back")).count() == 0
    answer = page.request.post(
        f"{world.url}/releases/models/{MODEL}/roll-back",
        form={"version": FIRST, "reason": "because"},
        headers={"Origin": world.url},
    )
    assert answer.status == 403
    assert ROLL_BACK in answer.json()["detail"]


def test_a_form_from_elsewhere_is_refused(visit: Visit, world: ReleasesWorld) -> None:
    page = visit("/releases/", "ada")
    for origin in ("https://elsewhere.example", "null"):
        answer = page.request.post(
            f"{world.url}/releases/models/{MODEL}/roll-back",
            form={"version": FIRST, "reason": "because"},
            headers={"Origin": origin},
        )
        assert answer.status == 403
        assert "did not come from a page of this Airflow" in answer.json()["detail"]


def test_a_release_is_rolled_back_by_keyboard_alone(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}", "uli")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    button, dialog = page.get_by_role("button", name=f"Roll back to {FIRST}"), page.get_by_role("dialog")
    tab_to(page, f"Roll back to {FIRST}")
    page.keyboard.press("Space")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Why")).to_be_focused()
    expect(dialog).to_contain_text(f"Version {FIRST} gets the traffic back")
    expect(dialog).to_contain_text(f"Release {ROLLING} is under way")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Why")).to_be_focused()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    dialog.get_by_label("Why").focus()
    page.keyboard.type("Wrong on short texts & <b>more</b>")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Roll back")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/dags/{ROLL_BACK}/runs/"))
    runs = world.ask(f"/api/v2/dags/{ROLL_BACK}/dagRuns?order_by=-run_after&limit=1", user="ada")["dag_runs"]
    assert runs[0]["dag_run_id"] in urllib.parse.unquote(page.url)
    assert runs[0]["triggering_user_name"] == "uli"
    reason = "Wrong on short texts & <b>more</b>"
    assert runs[0]["conf"] == {"model": MODEL, "version": FIRST, "reason": reason}
    logs = world.ask(f"/api/v2/eventLogs?dag_id={ROLL_BACK}&event=trigger_dag_run", user="ada")["event_logs"]
    assert [entry["owner"] for entry in logs] == ["uli"]
    assert reason not in json.dumps(logs)
    page.goto(f"{world.url}/releases/models/{MODEL}")
    expect(page.get_by_text(f"A roll back to {FIRST} is waiting to start, started by uli")).to_be_visible()


def tab_to(page: Page, label: str) -> None:
    """Press Tab until an element has the focus, and see that each one on the way shows that it has."""
    for _ in range(200):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.ariaLabel, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline != "none", f"nobody sees that {name!r} has the focus"
        if name == label:
            return
    raise AssertionError(f"Tab never reaches {label!r}.")


def test_it_works_without_scripts(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}", "ada", java_script_enabled=False)
    page.get_by_role("button", name=f"Roll back to {TAKEN_BACK}").click()
    form = page.get_by_role("region", name="Roll back to this version")
    form.get_by_label("Why").fill("it was right after all")
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        form.get_by_role("button", name="Roll back").click()
    assert posted.value.status == 303
    assert f"/dags/{ROLL_BACK}/runs/" in posted.value.headers["location"]
    page.goto(f"{world.url}/releases/models/{MODEL}")
    page.get_by_label("State").select_option("rejected")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("state=rejected"))
    settle(page)
    assert list(rows(page)) == [REJECTED]


def test_what_never_was_live_cannot_be_put_back(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}", "ada")
    for version in (REJECTED, ROLLING, LIVE):
        assert page.get_by_role("button", name=f"Roll back to {version}").count() == 0
        answer = page.request.post(
            f"{world.url}/releases/models/{MODEL}/roll-back",
            form={"version": version, "reason": "because"},
            headers={"Origin": world.url},
        )
        assert answer.status == 409


def test_two_releases_are_compared(visit: Visit) -> None:
    page = visit(f"/releases/models/{MODEL}", "vera")
    page.get_by_role("radio", name=f"Compare {FIRST} as the first").check()
    page.get_by_role("radio", name=f"Compare {ROLLING} as the second").check()
    page.get_by_role("button", name="Compare the two chosen").click()
    metrics = page.get_by_role("region", name="Metrics").first
    expect(metrics).to_contain_text("+0.0400 better")
    expect(page.get_by_role("region", name="Facts that differ").first).to_contain_text(FIRST[::-1])


def test_a_thousand_releases_are_paged_and_filtered(visit: Visit) -> None:
    page = visit(f"/releases/models/{BUSY_MODEL}", "vera")
    seen = list(rows(page))
    assert seen[0] == busy_version(1000)
    assert len(seen) == 25
    for _ in range(2):
        page.get_by_role("link", name="Older").click()
        settle(page)
        seen += rows(page)
    assert seen == [busy_version(number) for number in range(1000, 925, -1)]
    page.get_by_label("State").select_option("live")
    page.wait_for_url(re.compile("state=live"))
    assert list(rows(page)) == [busy_version(1000)]


def test_a_difference_between_registry_and_serving_is_loud(visit: Visit) -> None:
    page = visit(f"/releases/models/{BUSY_MODEL}", "vera")
    alert = page.get_by_role("alert").filter(has_text="Registry and serving system disagree")
    expect(alert).to_contain_text(f"The registry holds {busy_version(1000)} to be live; users reach nothing.")


def test_an_empty_history_says_what_to_do_and_a_question_is_linked(visit: Visit) -> None:
    page = visit(f"/releases/models/{NEW_MODEL}", "vera")
    expect(page.get_by_text("Nothing is live yet.")).to_be_visible()
    expect(page.get_by_text("No release yet.")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="There is no pool absent")).to_be_visible()
    expect(page.get_by_text("It waits for an answer:")).to_be_visible()
    answer = page.get_by_role("link", name="approve or reject it")
    assert str(answer.get_attribute("href")).endswith("/tasks/approve/required_actions")


def test_releases_of_a_pipeline_alone_have_a_page_of_their_own(visit: Visit) -> None:
    page = visit("/releases/", "vera")
    page.get_by_role("link", name="Released in Kubeflow, without Airflow").click()
    table = page.get_by_role("region", name="Released in Kubeflow, without Airflow")
    row = table.get_by_role("row").filter(has_text="without-airflow")
    expect(row).to_contain_text(FIRST)
    expect(row).to_contain_text("● live")


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_wider_than_a_phone(visit: Visit, width: int, world: ReleasesWorld) -> None:
    page = visit("/releases/", "ada", viewport={"width": width, "height": 800})
    paths = ["/", f"/models/{MODEL}", f"/models/{MODEL}/versions/{FIRST}"]
    for path in [*paths, f"/models/{MODEL}/compare?one={FIRST}&other={LIVE}", f"/models/{BUSY_MODEL}"]:
        page.goto(f"{world.url}/releases{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{world.url}/releases/models/{MODEL}")
    page.get_by_role("button", name=f"Roll back to {FIRST}").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_light_and_dark_follow_airflow_and_else_the_browser(visit: Visit) -> None:
    page = visit(f"/releases/models/{MODEL}", "vera", color_scheme="dark")
    dark = background(page)
    assert max(dark) < 60
    page.evaluate("localStorage.setItem('theme', 'light')")
    page.reload()
    assert min(background(page)) > 200
    page.emulate_media(color_scheme="light")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert background(page) == dark
    text = page.evaluate("getComputedStyle(document.body).color")
    assert min(channels(text)) > 200


def background(page: Page) -> list[int]:
    return channels(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def channels(colour: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", colour)[:3]]


def test_it_lives_in_airflows_navigation_and_its_links_lead_out_of_the_frame(visit: Visit) -> None:
    page = visit("/", "ada")
    entry = page.get_by_role("link", name="Releases")
    icon = entry.locator("img")
    assert str(icon.get_attribute("src")).endswith("/releases/static/icon.svg")
    page.wait_for_function("icon => icon.naturalWidth > 0", arg=icon.element_handle())
    entry.click()
    frame = page.frame_locator("iframe[title='Releases']")
    frame.get_by_role("link", name=MODEL).click()
    expect(frame.get_by_role("heading", level=1, name=MODEL)).to_be_visible()
    frame.get_by_role("link", name=f"DAG run of {LIVE}").click()
    page.wait_for_url(re.compile(f"/dags/release_sample_reviews/runs/manual__{LIVE}"))
    assert page.locator("iframe[title='Releases']").count() == 0


def test_a_report_is_shown_but_runs_nothing(visit: Visit, world: ReleasesWorld) -> None:
    page = visit(f"/releases/models/{MODEL}/versions/{FIRST}/report", "vera")
    expect(page.get_by_role("heading", name="Report of the first")).to_be_visible()
    assert page.title() == "Report"
    answer = page.request.get(f"{world.url}/releases/models/{MODEL}/versions/{LIVE}/report")
    assert answer.status == 404
    climb = page.request.get(f"{world.url}/releases/models/{MODEL}/versions/..%2F..%2F{FIRST}/report")
    assert climb.status == 404


def test_no_page_breaks_its_own_rules(visit: Visit, world: ReleasesWorld) -> None:
    page = visit("/releases/", "ada")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in ("/", f"/models/{MODEL}", f"/models/{MODEL}/versions/{FIRST}", f"/models/{MODEL}/compare"):
        page.goto(f"{world.url}/releases{path}")
    assert complaints == []


@pytest.fixture(scope="module")
def hostile_report(world: ReleasesWorld, pipelines_python: str) -> str:
    """Register hostile releases, write a report with hostile labels and texts, and return its path on the server."""
    register_hostile(world.home / "mlflow.db")
    page = subprocess.run(
        [pipelines_python, "-c", _WRITE_HOSTILE_REPORT],
        input=json.dumps(HOSTILE_WORDS),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    report = world.home / "store" / HOSTILE_MODEL / HOSTILE_VERSION / "report" / "report.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(page, encoding="utf-8")
    return f"/releases/models/{HOSTILE_MODEL}/versions/{HOSTILE_VERSION}/report"


class Hurt:
    """What a page has done that it must not: asked other servers, opened dialogs, run scripts, broken its rules."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        self._page = page
        page.on("request", lambda request: self._note(ELSEWHERE in request.url, f"asks {request.url}"))
        page.on("dialog", self._dismiss)
        page.on("console", lambda message: self._note("Content Security" in message.text, message.text))

    def _dismiss(self, dialog: Dialog) -> None:
        self.found.append(f"says {dialog.message}")
        dialog.dismiss()

    def _note(self, is_wrong: bool, what: str) -> None:
        if is_wrong:
            self.found.append(what)

    def assert_nothing(self, path: str) -> None:
        assert self.found == [], path
        assert self._page.title() != HURT, path
        dangerous = "a[href^='javascript:' i], img[src*='elsewhere'], img[onerror], svg[onload], [onfocus], main style"
        assert self._page.locator(dangerous).count() == 0, path


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_words_are_words(visit: Visit, world: ReleasesWorld, hostile_report: str, width: int) -> None:
    page = visit("/releases/", "ada", viewport={"width": width, "height": 800})
    hurt = Hurt(page)
    model = f"/releases/models/{HOSTILE_MODEL}"
    other = str(int(HOSTILE_VERSION) + 10_000)  # an hour later
    paths = ["/releases/", model, f"{model}/versions/{HOSTILE_VERSION}", hostile_report]
    too_wide = {}
    for path in [*paths, f"{model}/compare?one={HOSTILE_VERSION}&other={other}"]:
        page.goto(f"{world.url}{path}")
        settle(page)
        hurt.assert_nothing(path)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            too_wide[path] = found
    assert too_wide == {}
    page.goto(f"{world.url}{model}")
    settle(page)
    read = " ".join(page.locator("main").inner_text().split())
    assert [words for words in HOSTILE_WORDS if " ".join(words.split()) not in read] == []


def write_hostile_card(home: Path, dag_id: str, run_id: str) -> None:
    """Leave the log of a task that has printed a release card of hostile words."""
    log = home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / "task_id=report" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    facts = {"level": "info", "logger": "airflow.task.operators", "timestamp": "2026-09-30T04:00:00Z"}
    log.write_text("".join(f"{json.dumps({'event': words, **facts})}\n" for words in HOSTILE_WORDS), encoding="utf-8")


def test_a_hostile_approval_card_and_reason_are_words(visit: Visit, world: ReleasesWorld, hostile_report: str) -> None:
    page = visit("/releases/", "ada")
    hurt = Hurt(page)
    dag_id, run_id = f"release_{HOSTILE_MODEL.replace('-', '_')}", f"manual__{HOSTILE_RUN}"
    page.goto(f"{world.url}/dags/{dag_id}/runs/{run_id}/tasks/approve/required_actions")
    expect(page.get_by_text("Rows on which candidate and live model disagree")).to_be_visible()
    hurt.assert_nothing("approval")
    write_hostile_card(world.home, dag_id, run_id)
    page.goto(f"{world.url}/dags/{dag_id}/runs/{run_id}/tasks/report")
    expect(page.get_by_text("from the right").first).to_be_visible()
    hurt.assert_nothing("release card")
    page.goto(f"{world.url}/releases/models/{HOSTILE_MODEL}/versions/{HOSTILE_VERSION}")
    settle(page)
    page.get_by_role("button", name="Roll back").first.click()
    page.get_by_label("Why").fill(" ".join(HOSTILE_WORDS[:7]))
    page.get_by_role("button", name="Roll back", exact=True).last.click()
    page.wait_for_url(re.compile(f"/dags/{ids.roll_back_dag(HOSTILE_MODEL)}/runs/"))
    page.wait_for_load_state("networkidle")
    hurt.assert_nothing("the run of the roll back")
    page.goto(f"{world.url}/releases/models/{HOSTILE_MODEL}")
    settle(page)
    expect(page.get_by_text(f"A roll back to {HOSTILE_VERSION} is waiting to start")).to_be_visible()
    hurt.assert_nothing("the model's page")
