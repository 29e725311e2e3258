"""Where compiled pipelines are read from, and what is said when they are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.pipelines import reading
from kubeflow_provider.pipelines.reading import is_local, read_pipeline_spec
from tests.certificates import certificates, server_context
from tests.doubles.web import Asked, HangUp, Reply, WebServer

PIPELINE = b'{"pipelineInfo": {"name": "sums"}, "root": {"dag": {}}, "deploymentSpec": {"executors": {}}}'


class Files(WebServer):
    """Answers each request with the next reply; the last one stays."""

    replies: list[Reply | type[Exception]]

    def answer(self, asked: Asked) -> Reply:
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Reply):
            return reply
        raise reply


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def web(authority: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Files]]:
    """Return ``start(*replies, is_safe=True)`` for servers whose authority this process knows."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority["ca"]))
    with ExitStack() as stack:

        def start(*replies: Any, is_safe: bool = True) -> Files:
            server = stack.enter_context(Files(tls=server_context(authority) if is_safe else None))
            server.replies = list(replies)
            return server

        yield start


@pytest.fixture
def store() -> MemoryFileSystem:
    """A store that answers to ``s3://``."""
    files = MemoryFileSystem()
    files.store.clear()
    attach("s3", fs=files)
    return files


@pytest.mark.parametrize("begin", ["", "file://", "file://localhost"])
def test_a_file_is_read_by_path_or_uri(tmp_path: Path, begin: str) -> None:
    file = tmp_path / ("a%20b.yaml" if begin == "" else "a b.yaml")
    file.write_bytes(PIPELINE)

    spec = read_pipeline_spec(f"{begin}{tmp_path}/a%20b.yaml")

    assert (spec.name, spec.source, spec.reference) == ("sums", str(file), None)


def test_what_is_on_the_web_is_read(web: Callable[..., Files]) -> None:
    server = web(Reply(200, PIPELINE))

    spec = read_pipeline_spec(f"{server.url}/sums.yaml?signature=hidden")

    assert (spec.name, spec.source) == ("sums", f"{server.url}/sums.yaml")
    assert server.asked[0].target == "/sums.yaml?signature=hidden"


def test_a_redirect_is_followed_but_not_to_where_anybody_listens(web: Callable[..., Files]) -> None:
    safe, plain = web(Reply(200, PIPELINE)), web(Reply(200, PIPELINE), is_safe=False)

    assert read_pipeline_spec(f"{web(Reply.redirect(f'{safe.url}/there')).url}/here").name == "sums"
    with pytest.raises(InvalidRequestError, match="without encryption"):
        read_pipeline_spec(f"{web(Reply.redirect(f'{plain.url}/there')).url}/here")
    assert plain.asked == []
    with pytest.raises(InvalidRequestError, match="redirects"):
        read_pipeline_spec(f"{web(Reply.redirect('/here')).url}/here")


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(404), InvalidRequestError, "answered 404"),
        (Reply(403), PermissionDeniedError, "signed URL"),
        (Reply(503), ServiceUnavailableError, "answered 503"),
        (Reply(429), ServiceUnavailableError, "answered 429"),
        (HangUp, ServiceUnavailableError, "cannot be read now"),
        (Reply.html("Sign in"), InvalidRequestError, "is not a compiled pipeline"),
    ],
)
def test_what_the_web_does_not_give_is_told_without_the_secret_of_its_address(
    web: Callable[..., Files], reply: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as error:
        read_pipeline_spec(f"{web(reply).url.replace('//', '//me:hidden@')}/sums.yaml?signature=hidden")
    assert "hidden" not in str(error.value)


def test_what_is_in_an_object_store_is_read(store: MemoryFileSystem) -> None:
    store.pipe("/pipelines/sums.yaml", PIPELINE)

    assert read_pipeline_spec("s3://pipelines/sums.yaml").name == "sums"
    with pytest.raises(InvalidRequestError, match=r"s3://pipelines/other\.yaml is not there"):
        read_pipeline_spec("s3://pipelines/other.yaml")


def test_a_store_that_airflow_cannot_read_is_told_with_what_it_needs() -> None:
    with pytest.raises(InvalidRequestError, match="apache-airflow-providers-google"):
        read_pipeline_spec("gs://pipelines/sums.yaml")


def test_what_kubeflow_would_not_take_is_not_read_to_its_end(
    web: Callable[..., Files], store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGEST_BYTES", len(PIPELINE) - 1)
    (tmp_path / "sums.yaml").write_bytes(PIPELINE)
    store.pipe("/pipelines/sums.yaml", PIPELINE)

    for place in (
        str(tmp_path / "sums.yaml"),
        "s3://pipelines/sums.yaml",
        f"{web(Reply(200, PIPELINE)).url}/sums.yaml",
    ):
        with pytest.raises(InvalidRequestError, match="no larger one"):
            read_pipeline_spec(place)


@pytest.mark.parametrize(
    "place",
    [
        "http://example.com/sums.yaml",
        "ftp://example.com/sums.yaml",
        "simplecache::file:///sums.yaml",
        "reference://sums.yaml",
        "s3://pipelines/sums.yaml::file:///sums.yaml",
        "data:,sums",
        "file://example.com/sums.yaml",
    ],
)
def test_no_other_place_is_read(place: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"file://.* URI has three slashes|begins with file://"):
        read_pipeline_spec(place)


@pytest.mark.parametrize(
    ("location", "expected"),
    [("/a", True), ("a b", True), ("FILE:///a", True), ("s3://a/b", False), ("https://a", False)],
)
def test_says_what_is_on_this_machine(location: str, expected: bool) -> None:
    assert is_local(location) is expected
