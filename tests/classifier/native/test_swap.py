"""Another version takes the place of the one that is served, and no request is lost."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.classifier.native.server import Limits, Service
from include.classifier.native.swap import Package, swap
from include.classifier.packaging.archive import PACKAGE, build_archive
from tests.classifier.native.holding import busy
from tests.classifier.serving.servers import answering
from tests.waiting import LIMIT_SECONDS, wait_for

PATH = "/v1/models/tiny:predict"
ONE = {"instances": ["good food"]}
FIRST = "20261121030000"


@dataclass
class Swapping:
    """A server, and the package that it loads from."""

    server: Any
    package: Package
    folder: Path
    model: Path

    def pack(self, version: str, *, name: str = "tiny", **settings: int) -> None:
        """Put another version into the package."""
        for old in (self.folder / "model-store").glob("*.mar"):
            old.unlink()
        target = self.folder / "model-store" / f"{name}.mar"
        build_archive(self.model, model=name, version=version, target=target, serving=settings or None)

    def begin(self) -> Future[None]:
        """Do what SIGHUP does."""
        return asyncio.run_coroutine_threadsafe(swap(self.server.service, self.package), self.server.loop)

    def answering(self) -> str:
        """Return the version that answers."""
        status, answer = self.server.predict(PATH, ONE)
        assert status == 200
        return answer["predictions"][0]["version"]


@pytest.fixture
def swapping(tiny_model: Path, tmp_path: Path) -> Iterator[Swapping]:
    folder = tmp_path / "package"
    made = Swapping(None, Package(folder, tmp_path / "own", workers=None), folder, tiny_model)
    made.pack(FIRST)
    with answering(Service(made.package.load(), Limits())) as server:
        made.server = server
        yield made


def test_no_request_is_lost_while_versions_take_turns(swapping: Swapping) -> None:
    versions = [FIRST, *(f"2026112203000{number}" for number in range(3))]
    over, statuses, seen = threading.Event(), set[int](), set[str]()

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", swapping.server.port, timeout=LIMIT_SECONDS)) as kept:
            while not over.is_set():
                kept.request("POST", PATH, json.dumps(ONE))
                response = kept.getresponse()
                statuses.add(response.status)
                seen.add(json.loads(response.read())["predictions"][0]["version"])

    with ThreadPoolExecutor(4) as threads:
        users = [threads.submit(ask) for _ in range(4)]
        try:
            for version in versions[1:]:
                swapping.pack(version)
                swapping.begin().result(LIMIT_SECONDS)
                wait_for(lambda version=version: version in seen, "nobody gets it")  # type: ignore[misc]
        finally:
            over.set()
        for user in users:
            user.result(LIMIT_SECONDS)
    assert statuses == {200}
    assert seen == set(versions)
    assert swapping.answering() == versions[-1]
    assert json.loads(swapping.server.ask("GET", "/v2/models/tiny").body)["versions"] == [versions[-1]]
    assert f'version="{versions[-1]}"' in swapping.server.service.metrics.text()
    own = swapping.folder.parent / "own"
    assert [path.name for path in own.iterdir()] == ["model-3"]
    packages = {name.partition(".")[0] for name in sys.modules if name.startswith(PACKAGE)}
    assert len(packages) == 1


def test_what_was_begun_with_the_version_before_is_ended_with_it(swapping: Swapping) -> None:
    second = "20261122030000"
    swapping.pack(second)
    service = swapping.server.service
    with busy(swapping.server) as answers, ThreadPoolExecutor(1) as threads:
        before = service.served
        begun = threads.submit(swapping.answering)
        wait_for(lambda: service.predictions.under_way == 1, "nobody asks")
        swapped = swapping.begin()
        wait_for(lambda: service.served is not before, "it is not swapped")
        assert swapping.answering() == second
        path = f"/v2/models/tiny/versions/{FIRST}/infer"
        assert swapping.server.ask("POST", path, json.dumps(ONE).encode()).status == 404
        assert not swapped.done()
        answers.set()
        assert begun.result(LIMIT_SECONDS) == FIRST
        swapped.result(LIMIT_SECONDS)


@pytest.mark.parametrize("fault", ["no archive", "another name", "workers", "broken", "pinned"])
def test_what_cannot_take_its_place_leaves_it_where_it_is(
    fault: str, swapping: Swapping, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {
        "no archive": "holds no archive",
        "another name": "the package holds other, and this server is there for tiny",
        "workers": "the new one wants 2 workers",
        "broken": "no archive that this project made",
        "pinned": "Somebody changed it",
    }[fault]
    version = "20261122030000"
    if fault == "another name":
        swapping.pack(version, name="other")
    elif fault == "workers":
        swapping.pack(version, workers=2)
    elif fault == "pinned":
        monkeypatch.setenv("ARCHIVE_SHA256", "0" * 64)
    else:
        for archive in (swapping.folder / "model-store").iterdir():
            archive.unlink()
        if fault == "broken":
            (swapping.folder / "model-store" / "tiny.mar").write_bytes(b"no archive")
    swapping.begin().result(LIMIT_SECONDS)
    assert swapping.answering() == FIRST
    assert f"tiny {FIRST} stays: " in caplog.text
    assert expected.lower() in caplog.text.lower()
