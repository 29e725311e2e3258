"""Whatever becomes of a source, nothing secret of its address is printed: not even where its server quotes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.classifier.preprocess import main


class Quoting(BaseHTTPRequestHandler):
    """Answers with the status in the path, and quotes what it was asked with."""

    def do_GET(self) -> None:
        said = f"{self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(said)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def quoting() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Quoting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "http://me:HIDDEN@{server}/200.csv?sig=HIDDEN",
        "http://me:HIDDEN@{server}/401.csv?sig=HIDDEN",
        "http://me:HIDDEN@{server}/403.csv?X-Amz-Signature=HIDDEN",
        "http://me:HIDDEN@{server}/500.csv?X-Goog-Signature=HIDDEN",
        "http://me:HIDDEN@{server}/404.csv#token=HIDDEN",
        "http://HIDDEN@{server}/404.parquet",
        "http://me:HIDDEN@{server}/404?format=HIDDEN",
        "http://me:HIDDEN@{server}/200-*.csv?sig=HIDDEN",
        "http://me:HIDDEN@127.0.0.1:1/a.csv?sig=HIDDEN",
        "http://me:HIDDEN@[::1/a.csv",
        "http://me:HIDDEN@h\u2100h/a.csv?sig=HIDDEN",
        "http://me:HIDDEN@{server}:x/a.csv",
        "http://me:HIDDEN/@{server}/a.csv",
        "HTTP://me:HIDDEN@{server}/a.csv?sig=HIDDEN",
        "http:/me:HIDDEN@{server}/a.csv",
        "me:HIDDEN@{server}:/a.csv",
        "simplecache::http://me:HIDDEN@{server}/200.csv?sig=HIDDEN",
        "zip://x.csv::http://me:HIDDEN@{server}/200.zip?sig=HIDDEN",
        "reference://x.csv::http://me:HIDDEN@{server}/200.json",
        "s3://AKIA:HIDDEN@bucket/a.csv",
        "s3://bucket/a.csv?X-Amz-Signature=HIDDEN",
        "s3://AKIA:HIDDEN@bucket/folder-*/a.csv",
        "gs://me:HIDDEN@bucket/a.csv?X-Goog-Signature=HIDDEN",
        "az://container/a.csv?sig=HIDDEN",
        "abfss://container:HIDDEN@account/a.csv",
        "ftp://me:HIDDEN@{server}/a.csv",
        "sftp://me:HIDDEN@{server}/a.csv",
        "hub:https://HIDDEN@huggingface.co/owner/name",
        "hub:owner/name:https://me:HIDDEN@h/x",
    ],
)
def test_nothing_secret_of_an_address_is_printed(
    address: str, quoting: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{quoting}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = {"train": [address.format(server=quoting)], "labels": ["bad", "good"]}
    code = main(["--model", "m", "--data", json.dumps(data), "--output-uri", (tmp_path / "out").as_uri()])
    captured = capfd.readouterr()
    assert code in (1, 2)
    assert captured.err.strip()
    assert "HIDDEN" not in captured.out + captured.err
