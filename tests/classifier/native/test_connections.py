"""What comes over a connection that is no request of a well-behaved client, and what is unusual about one that is."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from include.classifier.native.connections import MAX_HEAD_BYTES

PATH = "/v1/models/tiny:predict"
BODY = json.dumps({"instances": ["good food"]}).encode()
POST = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
LENGTH = f"Content-Length: {len(BODY)}\r\n".encode()
#: Stands in broken requests, and must stand in no answer and in no log.
SECRET = b"Zyxwvut"
#: More than what is read of a connection at once, besides.
ENDLESS = SECRET * (MAX_HEAD_BYTES // 2)


def answer_to(server: Any, sent: bytes) -> bytes:
    """Return all that comes back over a connection until the server ends it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        found = b""
        try:
            connection.sendall(sent)
            while part := connection.recv(65_536):
                found += part
        except ConnectionError:  # It was closed while there was more to send, or to read.
            pass
        return found


@pytest.mark.parametrize(
    "sent",
    [
        SECRET + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + SECRET,
        b"POST " + SECRET + b" HTTP/1.1\r\n\r\n",
        b"POST \xff" + SECRET + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: " + SECRET + b"\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
        b"CONNECT " + SECRET + b":80 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Na me: " + SECRET + b"\r\n\r\n",
        POST + b" folded: " + SECRET + b"\r\n\r\n",
    ],
)
def test_a_broken_request_is_a_400_and_ends_its_connection_alone(
    sent: bytes, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = answer_to(server, sent)

    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in found
    assert SECRET not in found + caplog.text.encode()
    assert server.ask("POST", PATH, BODY).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /" + ENDLESS,
        POST + b"X: " + ENDLESS,
        POST + (b"X: " + SECRET + b"\r\n") * MAX_HEAD_BYTES,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX: " + ENDLESS,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n" + (b"X: " + SECRET + b"\r\n") * MAX_HEAD_BYTES,
    ],
    ids=["path", "header", "headers", "trailer", "trailers"],
)
def test_a_head_without_an_end_is_not_kept(sent: bytes, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = answer_to(server, sent)

    assert not found or found.startswith(b"HTTP/1.1 400 ")
    assert SECRET not in found + caplog.text.encode()
    assert server.service.predictions.under_way == 0
    assert server.ask("POST", PATH, BODY).status == 200


def test_a_body_in_the_smallest_parts_is_read(server: Any) -> None:
    body = json.dumps({"instances": ["good " * 3000]}).encode()
    framed = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert len(framed) - len(body) > MAX_HEAD_BYTES

    found = answer_to(server, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)

    assert found.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "headers",
    [b"", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n"],
    ids=["plain", "as Java asks for HTTP/2"],
)
def test_requests_follow_each_other_over_one_connection(headers: bytes, server: Any) -> None:
    one = POST + headers + LENGTH + b"\r\n" + BODY
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for _ in range(3):
            connection.sendall(one)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert json.loads(response.read())["predictions"]


def test_requests_that_come_at_once_are_answered_in_their_order(server: Any) -> None:
    names = [b"first", b"second", b"third"]
    tensor = {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["good food"]}
    sent = b""
    for name in names:
        body = json.dumps({"id": name.decode(), "inputs": [tensor]}).encode()
        closes = b"Connection: close\r\n" if name == names[-1] else b""
        sent += POST + closes + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = answer_to(server, sent)

    assert found.count(b"HTTP/1.1 200 ") == len(names)
    places = [found.index(b'"id": "' + name) for name in names]
    assert places == sorted(places)


def test_who_waits_for_leave_to_send_a_body_gets_it(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(POST + LENGTH + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
