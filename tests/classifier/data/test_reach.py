"""What a form names leads nowhere else, whatever stands behind the name."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.classifier.data import reach
from include.classifier.data.problems import DataError
from include.classifier.data.reach import check_hub_id, is_public
from include.classifier.data.sources import Source

CSV = b"text,label\n"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_addresses_inside_of_a_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_others_are(address: str) -> None:
    assert is_public(address)


class _Server(http.server.BaseHTTPRequestHandler):
    """Hands out a file, and leads to it from elsewhere."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.path.removeprefix('/to/')}/a.csv")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CSV)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(CSV)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a server on loopback, and the paths that it is asked for."""
    handler = type("Handler", (_Server,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1], handler.asked  # type: ignore[attr-defined]
        running.shutdown()


def read(uri: str, allowed: tuple[str, ...] | None) -> bytes:
    with Source(uri, "train", allowed).open() as file:
        return file.read()


def test_loopback_is_asked_for_whoever_named_it_alone(server: tuple[int, list[str]]) -> None:
    port, asked = server
    uri = f"http://127.0.0.1:{port}/a.csv"
    with pytest.raises(DataError, match="not read on behalf of a form"):
        read(uri, ("http://",))
    assert asked == []
    for allowed in (None, ("*",), (uri,), (f"http://127.0.0.1:{port}",)):
        assert read(uri, allowed) == CSV


def test_a_redirect_into_the_network_is_not_followed(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, asked = server
    # The server of this test stands for one that everybody reaches; 127.0.0.2 stays what it is.
    monkeypatch.setattr(reach, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    assert read(f"http://127.0.0.1:{port}/to/127.0.0.1:{port}/a.csv", ("http://",)) == CSV
    asked.clear()
    with pytest.raises(DataError, match="it is, or leads, where"):
        read(f"http://127.0.0.1:{port}/to/127.0.0.2:{port}/a.csv", ("http://",))
    assert all(path.startswith("/to/") for path in asked)


def test_a_name_is_what_it_resolves_to(server: tuple[int, list[str]]) -> None:
    port, asked = server
    with pytest.raises(DataError, match="not read on behalf of a form"):
        read(f"http://localhost:{port}/a.csv", ("http://",))
    assert asked == []


def test_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.csv").write_bytes(CSV)
    (inside / "link.csv").symlink_to(outside / "a.csv")
    (tmp_path / "linked").symlink_to(inside)
    allowed = (str(inside),)
    assert read(str(inside / "a.csv"), allowed) == CSV
    assert read(str(tmp_path / "linked" / "a.csv"), (str(tmp_path / "linked"),)) == CSV
    for path in (inside / "link.csv", outside / "a.csv", inside / ".." / "outside" / "a.csv"):
        with pytest.raises(DataError, match="not read on behalf of a form"):
            read(str(path), allowed)
    assert read(str(inside / "link.csv"), (str(inside / "link.csv"),)) == CSV, "named itself"


def test_the_hub_is_asked_for_data_sets_and_not_for_folders(tmp_path: Path) -> None:
    for uri in (f"hub:{tmp_path}", "hub:json"):
        with pytest.raises(DataError, match="not read on behalf of a form"):
            Source(uri, "train", ("hub:",)).check_reach()
    Source("hub:owner/name", "train", ("hub:",)).check_reach()


@pytest.mark.parametrize("name", ["json", "text", "imdb", ""])
def test_a_data_set_without_an_owner_is_no_data_set(name: str) -> None:
    with pytest.raises(DataError, match="as in hub:owner/name"):
        check_hub_id(name, f"hub:{name}")
    check_hub_id(f"owner/{name}", f"hub:owner/{name}")
