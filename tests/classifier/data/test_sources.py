"""Sources are opened wherever they lie, and what cannot be opened says whether another try makes sense."""

from __future__ import annotations

import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.classifier.data.problems import DataError, SourceUnavailableError
from include.classifier.data.sources import Source, as_uri, explained
from include.models import PROJECT_DIR

CONTENT = b"text,label\nfine,1\n"


class Handler(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        status = 200 if path == "/a.csv" else int(path.removeprefix("/").removesuffix(".csv"))
        self.send_response(status)
        # A connection that breaks off: more is promised than comes.
        self.send_header("Content-Length", str(len(CONTENT) + (100 if "cut" in self.path else 0)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def read(uri: str) -> bytes:
    with Source(uri, "train").open() as file:
        return file.read()


def test_path_uri_and_url_give_the_same_bytes(tmp_path: Path, server: str) -> None:
    (tmp_path / "a.csv").write_bytes(CONTENT)

    uris = [str(tmp_path / "a.csv"), (tmp_path / "a.csv").as_uri(), f"{server}/a.csv", f"{server}/a.csv?token=x"]

    assert [read(uri) for uri in uris] == [CONTENT] * 4


def test_relative_path_counts_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert read("include/sample_data/train.csv") == (PROJECT_DIR / "include/sample_data/train.csv").read_bytes()


def test_file_that_is_not_there_is_refused(tmp_path: Path, server: str) -> None:
    with pytest.raises(DataError, match=r"missing\.csv: not found\. Check the path"):
        read(str(tmp_path / "missing.csv"))
    with pytest.raises(DataError, match=r"404\.csv: not found"):
        read(f"{server}/404.csv")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read(str(tmp_path))


def test_what_a_server_forbids_is_refused(server: str) -> None:
    with pytest.raises(DataError, match=r"403\.csv: reading it is not allowed\. Check"):
        read(f"{server}/403.csv")


@pytest.mark.parametrize("path", ["500.csv", "429.csv", "a.csv?cut"])
def test_trouble_of_a_server_is_worth_another_try(server: str, path: str) -> None:
    with pytest.raises(SourceUnavailableError, match=r"\.csv: could not be fetched"):
        read(f"{server}/{path}")


def test_server_that_does_not_answer_is_worth_another_try() -> None:
    with pytest.raises(SourceUnavailableError, match="worth another try"):
        read("http://127.0.0.1:1/a.csv")


@pytest.mark.parametrize(
    "uri",
    [
        "foo://bucket/a.csv",
        "reference://a.csv",
        "reference://a.csv::http://127.0.0.1:1/ref.csv",
        "reference://a.csv::{folder}/ref.csv",
        "simplecache::http://127.0.0.1:1/a.csv",
        "simplecache::{folder}/secret.csv",
        "filecache://{folder}/secret.csv",
        "zip://secret.csv::{folder}/a.zip",
        "tar://secret.csv::{folder}/a.tar",
        "dir://::{folder}/secret.csv",
        "local://{folder}/secret.csv",
        "memory://a.csv",
        "data:text/csv,a://b.csv",
        "github://owner:name@main/a.csv",
        "ftp://127.0.0.1:1/a.csv",
        "sftp://127.0.0.1:1/a.csv",
        "FILE://{folder}/secret.csv",
    ],
)
def test_nothing_but_one_address_of_a_known_kind_is_opened(tmp_path: Path, uri: str) -> None:
    (tmp_path / "secret.csv").write_text("text,label\na private text,good\n")
    (tmp_path / "ref.csv").write_text(
        json.dumps({"version": 1, "refs": {"a.csv": [(tmp_path / "secret.csv").as_uri(), 0, 20]}})
    )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "secret.csv", "secret.csv")

    with pytest.raises(DataError, match=r"is not read from there\. Use a path, or one address"):
        read(uri.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("a.csv", "csv"),
        ("A.CSV", "csv"),
        ("https://host/a.csv?version=1.parquet", "csv"),
        ("a.tsv.gz", "tsv"),
        ("s3://bucket/a.ndjson", "jsonl"),
        ("a.json", "jsonl"),
        ("a.pq", "parquet"),
        ("a.XLSX", "xlsx"),
        ("hub:owner/name.csv", "hub"),
    ],
)
def test_name_tells_the_format(uri: str, kind: str) -> None:
    assert Source(uri, "train").format == kind


def test_name_that_does_not_tell_the_format_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.docx: the name does not tell the format\. Use one of \.csv"):
        _ = Source("a.docx", "train").format


def test_secrets_in_an_address_are_not_repeated() -> None:
    assert Source("https://me:secret@host:8443/a.csv?sig=secret", "train").name == "https://host:8443/a.csv"
    with pytest.raises(SourceUnavailableError) as caught:
        read("http://me:secret@127.0.0.1:1/a.csv?token=secret")
    assert "secret" not in str(caught.value)
    for chained in (
        "simplecache::http://me:secret@host/a.csv?sig=secret",
        "zip://a.csv::https://u:secret@h/a.zip?s=secret",
    ):
        with pytest.raises(DataError) as refused:
            read(chained)
        assert "secret" not in str(refused.value)


def test_uris_are_made_without_a_slash_at_the_end(tmp_path: Path) -> None:
    assert as_uri(tmp_path) == tmp_path.as_uri()
    assert as_uri(tmp_path / "My Data é#") == f"file://{tmp_path}/My Data é#"
    assert as_uri("s3://bucket/folder/") == "s3://bucket/folder"
    assert as_uri("data/") == f"file://{PROJECT_DIR}/data"


NAMES = ["My Data.csv", "отзывы.csv", "a#1.csv", "100%25.csv", "lang=en.csv", "train (1).csv", "a[1].csv", "a?b=c.csv"]


@pytest.mark.parametrize("name", [*NAMES, "a+b.csv", "a&b;c.csv", "a\\b.csv", "~a.csv", "a%zz.csv", "a:b.csv"])
def test_a_local_file_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "My Projects #1 %20 é"
    folder.mkdir()
    (folder / name).write_bytes(CONTENT)

    assert read(str(folder / name)) == CONTENT
    assert read((folder / name).as_uri()) == CONTENT
    assert Source(str(folder / name), "train").format == "csv"


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_a_store_is_read_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    source = Source(f"s3://bucket/{name}", "train")

    assert source.format == "csv"
    assert source.filesystem()[1] == f"bucket/{name}"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("https://h/a.csv?X-Sig=ab%2Bcd#x", "https://h/a.csv"),
        ("https://user:secret@h/a b.csv", "https://h/a b.csv"),
        ("s3://key:secret@bucket/a#1.csv", "s3://bucket/a#1.csv"),
        ("s3://bucket/what?.csv", "s3://bucket/what?.csv"),
        ("abfss://c@account/a.csv?sig=secret", "abfss://account/a.csv"),
    ],
)
def test_names_hold_neither_signatures_nor_passwords(uri: str, name: str) -> None:
    assert Source(uri, "train").name == name


def test_a_signed_address_is_asked_for_byte_by_byte(server: str) -> None:
    query = "X-Sig=ab%2Bcd%2Fef%3D&X-Cred=A%2F2024%2Fus&cut%20=%7E"

    with pytest.raises(SourceUnavailableError):
        read(f"{server}/429.csv?{query}")

    assert f"/429.csv?{query}" in Handler.asked


def test_a_missing_package_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)

    with pytest.raises(DataError, match=r"gs://bucket/a\.csv: cannot be opened without the package gcsfs"):
        read("gs://bucket/a.csv")


def test_missing_credentials_are_not_worth_another_try() -> None:
    class NoCredentialsError(Exception):
        """What botocore calls it."""

    assert isinstance(explained("s3://bucket/a.csv", NoCredentialsError()), DataError)
