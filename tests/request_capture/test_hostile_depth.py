"""Bodies that are nested without end cost a line in the numbers, and no thread and no reader."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.capture.exchanges import MOST_DEPTH, Exchange
from include.capture.feed import Feed, Limits
from include.capture.receiver import REQUEST, RESPONSE, Receiver
from include.capture.recorder import Recorder
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture import ServedCapture
from include.contracts.monitoring.features import features_of
from tests.waiting import LIMIT_SECONDS

MODEL, VERSION = "iris", "20261130061755"
FAST = Limits(write_seconds=0.01, file_seconds=3600)
ANSWER = b'{"predictions": [0]}'

#: Around what Python's recursion limit of 1,000 lets its own code, and its JSON parser, do; and far beyond.
DEPTHS = (MOST_DEPTH, 100, 255, 330, 490, 500, 900, 985, 990, 995, 1000, 5000, 100_000)


def lists(depth: int, inside: str = "1") -> str:
    return "[" * depth + inside + "]" * depth


def objects(depth: int) -> str:
    return '{"a": ' * depth + "1" + "}" * depth


def tensor(depth: int) -> str:
    return f'[{{"name": "x", "shape": [1], "datatype": "FP64", "data": {lists(depth)}}}]'


FORMS = {
    "instances of lists": lambda depth: f'{{"instances": [{lists(depth)}]}}',
    "instances of objects": lambda depth: f'{{"instances": [{objects(depth)}]}}',
    "tensors": lambda depth: f'{{"inputs": {tensor(depth)}}}',
    "shape of a tensor": lambda depth: f'{{"inputs": [{{"name": "x", "shape": {lists(depth)}, "data": [1]}}]}}',
    "a text": lambda depth: f'{{"text": {lists(depth)}}}',
    "nothing but brackets": lists,
    "brackets without an end": lambda depth: "[" * depth,
    "many texts far inside": lambda depth: f'{{"instances": [{lists(depth, chr(44).join([chr(34) * 2] * 50_000))}]}}',
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / MODEL).mkdir()
    return tmp_path / MODEL


@pytest.fixture(params=["keep", "hash"])
def recorder(store: Path, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    settings = ServedCapture(store=store.as_uri(), share=1.0, texts=request.param)
    recorder = Recorder(settings, model=MODEL, producer="test", feed=Feed(FAST))
    yield recorder
    recorder.feed.close(LIMIT_SECONDS)


def exchange(id: str, body: str, answer: bytes = ANSWER) -> Exchange:
    return Exchange(
        id=id, at=time.time(), version=VERSION, protocol="v2", latency_ms=1.0, request=body.encode(), answer=answer
    )


@pytest.mark.parametrize("form", FORMS)
def test_what_writes_outlives_every_depth(form: str, recorder: Recorder, store: Path) -> None:
    for number, depth in enumerate(DEPTHS):
        recorder.offer(exchange(f"hostile-{number}", FORMS[form](depth)))
    recorder.offer(exchange("plain", '{"instances": [[1, 2]]}'))
    recorder.feed.close(LIMIT_SECONDS)

    counts = recorder.counts
    assert counts.written + counts.failed + counts.too_large == len(DEPTHS) + 1
    reading = captured.ReadingCounts()
    found = {each.id: each for each in captured.read(store, counts=reading)}
    assert (reading.broken_lines, reading.broken_files) == (0, 0), reading.problems
    assert len(found) == counts.written
    assert found["plain"].rows[0].input == [1, 2]
    assert all(len(json.dumps(row.input)) < 1000 for each in found.values() for row in each.rows)


@pytest.mark.parametrize("part", ["predictions", "outputs"])
def test_so_it_does_with_answers(part: str, recorder: Recorder) -> None:
    for number, depth in enumerate(DEPTHS):
        answer = f'{{"{part}": {lists(depth)}}}' if part == "predictions" else f'{{"outputs": {tensor(depth)}}}'
        recorder.offer(exchange(f"hostile-{number}", '{"instances": [[1, 2]]}', answer.encode()))
    recorder.offer(exchange("plain", '{"instances": [[1, 2]]}'))
    recorder.feed.close(LIMIT_SECONDS)

    assert recorder.counts.written + recorder.counts.failed == len(DEPTHS) + 1
    assert recorder.counts.written >= 1


def test_what_is_as_deep_as_is_captured_is_read_again(recorder: Recorder, store: Path) -> None:
    depth = MOST_DEPTH - 2  # the body's object and the list of its instances
    recorder.offer(exchange("deepest", f'{{"instances": [{lists(depth)}]}}'))
    recorder.offer(exchange("deeper", f'{{"instances": [{lists(depth + 1)}]}}'))
    recorder.feed.close(LIMIT_SECONDS)

    (found,) = captured.read(store)
    assert (found.id, json.dumps(found.rows[0].input)) == ("deepest", lists(depth))
    assert recorder.counts.failed == 1


def test_the_receiver_takes_whatever_kserves_logger_sends(store: Path) -> None:
    receiver = Receiver(store.parent)
    for number, depth in enumerate(DEPTHS):
        for kind, body in ((REQUEST, f'{{"instances": [{lists(depth)}]}}'.encode()), (RESPONSE, ANSWER)):
            receiver.take(MODEL, {"share": "1"}, {"ce-type": kind, "ce-id": str(number)}, body)
    receiver.close(LIMIT_SECONDS)

    numbers = dict(receiver.numbers())
    assert numbers["written"] + numbers["failed"] == len(DEPTHS)


def test_features_look_into_no_depth() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    assert features_of([1, deep, "a"]) == {"x0": 1, "x2": "a"}
    assert features_of({"a": deep, "b": 2}) == {"b": 2}


def test_a_line_that_is_nested_without_end_is_a_broken_one_and_says_nothing_of_itself(store: Path) -> None:
    line = {"schema_version": 1, "id": "a", "at": "2026-11-30T06:17:55.123Z", "model": MODEL, "version": VERSION}
    line |= {"protocol": "v1", "status": 200, "latency_ms": 1.0}
    row = '{"input": %s, "features": {}, "output": null, "confidence": null, "probabilities": null}'
    folder = store / "captured" / "2026-11-30"
    folder.mkdir(parents=True)
    secret = '{"Zyxwvut": ' * 300 + "1" + "}" * 300
    bodies = [row % secret, *(row % lists(depth) for depth in DEPTHS)]
    lines = [json.dumps(line)[:-1] + f', "rows": [{body}]}}\n' for body in bodies]
    (folder / "test-1.jsonl").write_text("".join(lines))

    reading = captured.ReadingCounts()
    found = list(captured.read(store, counts=reading))

    assert len(found) + reading.broken_lines == len(lines)
    assert reading.broken_files == 0
    assert "Zyxwvut" not in "".join(reading.problems)
