"""A token in a file that something else keeps fresh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError
from tests.doubles.login import Oauth2ProxyGateway

RUNS = "/apis/v2beta1/runs"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first-token\n")
    return path


def test_a_changed_file_is_read_again(ask, start, connect, file):
    server = start(Oauth2ProxyGateway(tokens={"first-token": "ann", "second-token": "bob"}))
    client = connect(server.url, authentication="token_file", token_file=str(file))
    assert ask(client, "GET", RUNS)["user"] == "ann"
    file.write_text("second-token")
    os.utime(file, ns=(0, 7))
    assert ask(client, "GET", RUNS)["user"] == "bob"


def test_a_refused_token_is_read_again_even_when_the_file_looks_the_same(ask, start, connect, file):
    server = start(Oauth2ProxyGateway(tokens={"first-token": "ann", "second-token": "bob"}))
    client = connect(server.url, authentication="token_file", token_file=str(file))
    os.utime(file, ns=(0, 7))
    assert ask(client, "GET", RUNS)["user"] == "ann"
    file.write_text("second-token")
    os.utime(file, ns=(0, 7))
    assert ask(client, "GET", RUNS)["user"] == "ann", "the time says that nothing has changed"
    del server.tokens["first-token"]
    assert ask(client, "GET", RUNS)["user"] == "bob"


def test_a_token_that_stays_refused_is_tried_twice(ask, start, connect, file):
    server = start(Oauth2ProxyGateway())
    client = connect(server.url, authentication="token_file", token_file=str(file))
    with pytest.raises(PermissionDeniedError, match=f"reads its token from {file}"):
        ask(client, "GET", RUNS)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b"", "is empty"), (b"a\nb", "line break"), (b"\xc3\xa9", "read")]
)
def test_a_file_without_a_token_is_named(ask, start, connect, file, content, words):
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    client = connect(start(Oauth2ProxyGateway()).url, authentication="token_file", token_file=str(file))
    with pytest.raises(InvalidRequestError, match=f"{file}.*{words}"):
        ask(client, "GET", RUNS)


def test_the_variable_of_kubeflow_names_the_file(ask, start, connect, file, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    server = start(Oauth2ProxyGateway(tokens={"first-token": "ann"}))
    assert ask(connect(server.url, authentication="token_file"), "GET", RUNS)["user"] == "ann"
