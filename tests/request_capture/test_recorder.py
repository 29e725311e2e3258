"""Requests are captured beside a server: bounded, counted, and never felt by a request."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from include.capture.exchanges import Exchange
from include.capture.feed import Feed, Limits
from include.capture.recorder import Recorder, is_wanted, request_id
from include.capture.switch import OFF_VARIABLE
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture import ServedCapture
from include.contracts.monitoring.keys import KEY_FILE
from include.contracts.monitoring.layout import OFF, days
from tests.waiting import LIMIT_SECONDS, wait_for

MODEL, VERSION = "reviews", "20261130061755"
#: Stands in requests, and must stand nowhere unless texts are kept.
SECRET = "Zyxwvut Qponmlk"
FAST = Limits(write_seconds=0.01, file_seconds=3600)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / MODEL


Make = Callable[..., Recorder]


@pytest.fixture
def make(store: Path) -> Iterator[Make]:
    made: list[Recorder] = []

    def make(limits: Limits = FAST, **settings: Any) -> Recorder:
        section = ServedCapture(**{"store": f"file://{store}", "share": 1.0, "texts": "keep"} | settings)
        made.append(Recorder(section, model=MODEL, producer="test", feed=Feed(limits)))
        return made[-1]

    yield make
    for recorder in made:
        recorder.feed.close(LIMIT_SECONDS)


def exchange(id: str = "a", text: str = "good food", **given: Any) -> Exchange:
    answer = {"predictions": [{"label": "good", "score": 0.9, "probabilities": {"good": 0.9, "bad": 0.1}}]}
    facts: dict[str, Any] = {
        "id": id,
        "at": time.time(),
        "version": VERSION,
        "protocol": "v1",
        "latency_ms": 1.5,
        "request": json.dumps({"instances": [text]}).encode(),
        "answer": json.dumps(answer).encode(),
    }
    return Exchange(**facts | given)


def read(store: Path) -> tuple[list[captured.CapturedRequest], captured.ReadingCounts]:
    counts = captured.ReadingCounts()
    return list(captured.read(store, counts=counts)), counts


def everything(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in store.parent.rglob("*") if path.is_file())


def test_what_was_offered_stands_in_a_file_of_the_day_as_it_was_answered(make: Make, store: Path) -> None:
    recorder = make()
    recorder.offer(exchange("request-1", at=datetime(2026, 11, 30, 6, 17, 55, 123456, UTC).timestamp()))
    recorder.feed.close(LIMIT_SECONDS)

    (found,), counts = read(store)
    assert (found.id, found.at, found.model, found.version) == ("request-1", "2026-11-30T06:17:55.123Z", MODEL, VERSION)
    assert (found.protocol, found.status, found.latency_ms) == ("v1", 200, 1.5)
    (row,) = found.rows
    assert (row.input, row.output, row.confidence) == ("good food", "good", 0.9)
    assert row.probabilities == {"good": 0.9, "bad": 0.1}
    assert row.features["words"] == 2
    assert (counts.files, counts.requests, counts.broken_lines, counts.broken_files) == (1, 1, 0, 0)
    assert days(store / "captured") == [date(2026, 11, 30)]


def test_files_and_folders_are_for_nobody_else(make: Make, store: Path) -> None:
    recorder = make(texts="hash")
    recorder.offer(exchange())
    recorder.feed.close(LIMIT_SECONDS)

    day = next((store / "captured").iterdir())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (day, *day.iterdir(), store / KEY_FILE)}
    assert all(mode & 0o007 == 0 for mode in modes.values()), modes


def test_the_share_is_drawn(make: Make) -> None:
    recorder = make(share=0.25)

    drawn = sum(recorder.wants() for _ in range(4000))

    assert 800 < drawn < 1200  # ten standard deviations


def test_a_full_queue_drops_and_counts_and_nobody_waits(make: Make) -> None:
    recorder = make(Limits(queue_requests=3, write_seconds=3600))

    for number in range(5):
        recorder.offer(exchange(str(number)))

    assert (recorder.feed.waiting, recorder.counts.dropped) == (3, 2)


def test_the_queue_is_bounded_in_bytes(make: Make) -> None:
    size = exchange().size
    recorder = make(Limits(queue_bytes=2 * size, write_seconds=3600))

    for _ in range(3):
        recorder.offer(exchange())

    assert (recorder.feed.waiting, recorder.counts.dropped) == (2, 1)


def test_a_large_request_is_not_captured(make: Make) -> None:
    recorder = make(Limits(request_bytes=1000))

    recorder.offer(exchange(text="x" * 1000))
    recorder.offer(exchange(inputs=["x" * 1000], request=b""))

    assert (recorder.feed.waiting, recorder.counts.too_large) == (0, 2)


def test_what_cannot_be_written_is_counted_and_the_next_one_is_written(make: Make, store: Path) -> None:
    recorder = make()
    for hostile in ("", "two words", "a\nb", "../a" * 100, "\N{RIGHT-TO-LEFT OVERRIDE}"):
        recorder.offer(exchange(hostile))
    recorder.offer(exchange("fine"))
    recorder.feed.close(LIMIT_SECONDS)

    assert [each.id for each in read(store)[0]] == ["fine"]
    assert (recorder.counts.failed, recorder.counts.written) == (5, 1)


def test_a_folder_that_cannot_be_written_is_no_error_of_a_request(make: Make, store: Path) -> None:
    store.parent.mkdir()
    store.write_text("a file")
    recorder = make()

    recorder.offer(exchange())
    recorder.offer(exchange())
    recorder.feed.close(LIMIT_SECONDS)

    assert recorder.counts.written == 0


def test_a_store_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not on this machine"):
        Recorder(ServedCapture(store="s3://bucket/reviews"), model=MODEL, producer="test")


def test_files_are_closed_by_size_and_the_oldest_go_when_all_are_too_many(make: Make, store: Path) -> None:
    text = "word " * 20_000  # ten of them in a file of an eighth of a megabyte would be too many
    recorder = make(max_megabytes=1)
    for number in range(30):
        recorder.offer(exchange(f"request-{number:02}", text))
    recorder.feed.close(LIMIT_SECONDS)

    found = read(store)[0]
    size = sum(path.stat().st_size for path in store.rglob("*.jsonl"))
    assert size <= 1_000_000
    assert recorder.counts.deleted_files == recorder.counts.written - len(found) > 0
    assert max(each.id for each in found) == "request-29"
    assert min(each.id for each in found) > "request-00"


def test_nothing_is_captured_while_the_file_is_there_that_switches_it_off(make: Make, store: Path) -> None:
    store.mkdir(parents=True)
    (store.parent / OFF).touch()
    recorder = make()

    assert not recorder.wants()
    (store.parent / OFF).unlink()
    recorder._switch._looked = -3600
    assert recorder.wants()


def test_what_waits_when_it_is_switched_off_is_forgotten(make: Make, store: Path) -> None:
    store.mkdir(parents=True)
    recorder = make(Limits(write_seconds=0.01))
    (store.parent / OFF).touch()
    recorder._switch._looked = -3600
    recorder.offer(exchange(text=SECRET))

    wait_for(lambda: not recorder.feed.waiting, "it waits still")
    assert not recorder.wants()
    recorder.feed.close(LIMIT_SECONDS)
    assert SECRET.encode() not in everything(store)


def test_the_environment_switches_it_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFF_VARIABLE, "1")

    assert not make().wants()


@pytest.mark.parametrize("texts", ["hash", "drop"])
@pytest.mark.parametrize(
    "request_body",
    [
        {"instances": [SECRET]},
        {"instances": [{"data": SECRET}]},
        {"instances": [{"name": SECRET, "notes": [{"deep": SECRET}], SECRET: 1}]},
        {"instances": [[SECRET, 1.5]]},
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [SECRET]}]},
        {"inputs": [{"name": name, "shape": [1], "datatype": "BYTES", "data": [SECRET]} for name in ("a", SECRET)]},
        {"text": SECRET},
        {"unknown": SECRET},
        SECRET,
    ],
)
def test_a_text_stands_nowhere_when_texts_are_hashed_or_dropped(
    texts: str, request_body: Any, make: Make, store: Path
) -> None:
    recorder = make(texts=texts)
    body = request_body.encode() if isinstance(request_body, str) else json.dumps(request_body).encode()
    echo = {"predictions": [{"generated": SECRET, "words": SECRET.split(), SECRET: 1}]}
    recorder.offer(exchange("one", request=body, answer=json.dumps(echo).encode()))
    recorder.offer(exchange("two", request=b"", inputs=[SECRET]))
    recorder.feed.close(LIMIT_SECONDS)

    assert recorder.counts.written == 2
    assert len(read(store)[0]) == 2
    written = everything(store)
    for part in (SECRET, *SECRET.split()):
        assert part.encode() not in written


def test_a_hash_is_the_same_for_the_same_text_and_another_one_in_another_model(tmp_path: Path) -> None:
    found = []
    for model in ("one", "two"):
        section = ServedCapture(store=f"file://{tmp_path / model}", share=1, texts="hash")
        recorder = Recorder(section, model=model, producer="test", feed=Feed(FAST))
        recorder.offer(exchange("a", SECRET))
        recorder.offer(exchange("b", SECRET))
        recorder.feed.close(LIMIT_SECONDS)
        found += [each.rows[0].input for each in read(tmp_path / model)[0]]

    assert found[0] == found[1] != found[2] == found[3]


def test_half_a_surrogate_pair_and_numbers_that_json_has_not_are_written_as_something_that_can_be_read(
    make: Make, store: Path
) -> None:
    recorder = make()
    recorder.offer(exchange("a", request=b'{"instances": ["\\ud800 word", "\xf0\x9f\x98\x80"]}', answer=b"NaN"))
    recorder.offer(exchange("b", request=b'{"instances": [[NaN, 1e999, -Infinity, 5]]}'))
    recorder.offer(exchange("c", request=b'{"instances": [[' + b"9" * 400 + b"]]}"))
    recorder.offer(exchange("d", request=b"[" * 100_000))
    recorder.offer(exchange("e", request=b'{"instances": ' + b"[" * 400 + b"]" * 400 + b"}"))
    recorder.feed.close(LIMIT_SECONDS)

    found, counts = read(store)
    assert counts.broken_lines == 0
    rows = {each.id: each.rows for each in found}
    assert [row.input for row in rows["a"]] == ["? word", "\U0001f600"]
    assert rows["b"][0].input == [None, None, None, 5]
    assert rows["b"][0].features == {"x3": 5}


def test_a_reader_leaves_out_what_is_broken_or_unfinished_and_counts_it(make: Make, store: Path) -> None:
    recorder = make()
    recorder.offer(exchange("fine"))
    recorder.feed.close(LIMIT_SECONDS)
    day = next((store / "captured").iterdir())
    whole = next(day.iterdir()).read_bytes()
    (day / "broken-1.jsonl").write_bytes(b'{"half": \n\xff\xfe\n' + whole + whole[:40])
    (day / ".test-2.jsonl.part").write_bytes(whole)
    (day / "notes.txt").write_bytes(whole)
    (day / "folder.jsonl").mkdir()
    (store / "captured" / "2026-13-45").mkdir()

    found, counts = read(store)

    assert [each.id for each in found] == ["fine", "fine"]
    assert (counts.broken_lines, counts.broken_files) == (3, 1)
    assert SECRET not in str(counts.problems)


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("1f0c-4", True),
        ("user@example.org/7", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        (None, False),
        ("two words", False),
        ("a\r\nSet-Cookie: x", False),
        ("-rf", False),
        ("\N{CYRILLIC SMALL LETTER A}", False),
    ],
)
def test_a_clients_id_is_kept_when_it_may_stand_anywhere(given: str | None, is_kept: bool) -> None:
    assert (request_id(given) == given) is is_kept


def test_a_request_may_opt_out() -> None:
    assert [is_wanted(header) for header in (None, "", "on", "off", "no")] == [True, True, True, False, False]
