"""What a server sends to the process that writes arrives there as it was, in whatever pieces."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from include.capture.exchanges import Exchange
from include.capture.frames import Frame, Frames, carrying, ending, opening

SETTINGS = {"store": "/store/reviews", "texts": "hash"}
EXCHANGES = [
    Exchange("a", 1.5, "20261130061755", "v1", 2.25, b'{"instances": ["good"]}', b'{"predictions": [0]}'),
    Exchange(
        "b", 0.0, None, "v2", None, b"", b"\x00\xff\n" * 1000, ["\ud800 half a pair", "\N{GRINNING FACE}\n"], "/own"
    ),
    Exchange("c", 1e10, "", "raw", 0.0, b"\n", b"", []),
    Exchange("d", 1.0, "v", "v1", 1e-9, b"x" * 100_000, b"y", None, None),
]
SENT = [Frame(0, settings=SETTINGS), *(Frame(3, exchange=each) for each in EXCHANGES), Frame(0)]


def stream() -> bytes:
    return opening(0, SETTINGS) + b"".join(carrying(3, each) for each in EXCHANGES) + ending(0)


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    while data:
        size = chance.choice((1, 2, 11, 12, 13, 1000, 300_000))
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("seed", range(20))
def test_frames_arrive_as_they_were_in_whatever_pieces(seed: int) -> None:
    frames = Frames()
    data = stream()

    found = [frame for piece in pieces(data, seed) for frame in frames.of(piece)]

    assert found == SENT
    assert list(frames.of(b"")) == []


def test_inputs_that_a_producer_has_as_a_tuple_arrive_as_a_list() -> None:
    (found,) = Frames().of(carrying(0, Exchange("a", 1.0, None, "v1", None, b"", b"", ("one", "two"))))

    assert found.exchange
    assert found.exchange.inputs == ["one", "two"]


def test_what_is_no_json_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        carrying(0, Exchange("a", 1.0, None, "v1", None, b"", b"", [object()]))
