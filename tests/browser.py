"""The browser of the tests that look at pages as a person does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

#: A busy machine may take this long for a page; nothing asserts how long it took.
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a Chromium without a window."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("there is no Chromium: install the package `chromium`, or run `playwright install chromium`")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def find_chromium() -> str | None:
    """Return a Chromium of this machine: the system's, or the one that ``playwright install chromium`` brings."""
    if found := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None
