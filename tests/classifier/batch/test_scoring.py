from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.batch.scoring import ScoringError
from include.classifier.batch.steps import Progress, finish_step
from include.classifier.data.problems import DataError
from tests.classifier.batch.scorers import VERSION, Counting, plan, predict, predicted, rejected, score

ROWS = 23


def csv(path: Path, rows: int = ROWS) -> Path:
    path.write_text("id,text\n" + "".join(f"{number},{'x' * (number + 1)}\n" for number in range(rows)))
    return path


def answers(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["id"], row["predicted_label"]) for row in rows]


EXPECTED = [(str(number), "even" if number % 2 else "odd") for number in range(ROWS)]


def test_every_row_has_its_prediction_beside_its_columns(tmp_path: Path) -> None:
    found = predict(tmp_path / "out", csv(tmp_path / "reviews.csv"))

    rows = predicted(tmp_path / "out")
    assert answers(rows) == EXPECTED
    assert rows[0] == {
        "id": "0",
        "text": "x",
        "predicted_label": "odd",
        "predicted_probability": 0.75,
        "predicted_version": VERSION,
        "predicted_truncated": False,
    }
    assert (found.rows, found.predicted, found.rejected, found.truncated) == (ROWS, ROWS, 0, 3)
    assert found.label_counts == {"odd": 12, "even": 11}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "plan.json",
        "predictions",
        "predictions.json",
        "shards",
    ]
    assert (tmp_path / "out" / "predictions" / "_SUCCESS").exists()
    assert len(found.files) == 8
    assert str(json.loads((tmp_path / "out" / "predictions.json").read_text())["rows"]) == str(ROWS)


@pytest.mark.parametrize("shard_rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("workers", [1, 3])
def test_how_the_rows_are_divided_changes_nothing(tmp_path: Path, shard_rows: int, workers: int) -> None:
    plan(tmp_path / "out", csv(tmp_path / "reviews.csv"), shard_rows=shard_rows)
    for worker in reversed(range(workers)):
        score(tmp_path / "out", worker=worker, workers=workers)
    finish_step(output_uri=str(tmp_path / "out"))

    assert answers(predicted(tmp_path / "out")) == EXPECTED


def written(tmp_path: Path, kind: str) -> Path:
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    records = [{"id": number, "text": text, "when": None} for number, text in enumerate(texts)]
    path = tmp_path / {"folder": "parts"}.get(kind, f"reviews.{kind}")
    if kind == "parquet":
        parquet.write_table(pa.table({"text": texts, "id": range(5), "tags": [["x"], [], None, ["y", "z"], []]}), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif kind == "csv.gz":
        path.write_bytes(
            gzip.compress(b"id;text\n" + b"".join(b"%d;%s\n" % (n, t.encode()) for n, t in enumerate(texts)))
        )
    elif kind == "tsv":
        path.write_text("id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts)))
    else:
        path.mkdir()
        for part, some in enumerate((texts[:2], texts[2:])):
            (path / f"part-{part}.csv").write_text("text\n" + "".join(f"{text}\n" for text in some))
        (path / "_SUCCESS").touch()
    return path


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv.gz", "tsv", "folder"])
def test_formats(tmp_path: Path, kind: str) -> None:
    predict(tmp_path / "out", written(tmp_path, kind), shard_rows=2)

    rows = predicted(tmp_path / "out")
    assert [row["text"] for row in rows] == ["a", "bb", "ccc", "dddd", "eeeee"]
    assert [row["predicted_label"] for row in rows] == ["odd", "even", "odd", "even", "odd"]
    if kind == "parquet":
        assert [row["tags"] for row in rows] == [["x"], [], None, ["y", "z"], []]
        assert [row["id"] for row in rows] == [0, 1, 2, 3, 4]
    if kind == "jsonl":
        assert [(row["id"], row["when"]) for row in rows] == [(number, None) for number in range(5)]


def test_several_columns_are_one_text(tmp_path: Path) -> None:
    data = tmp_path / "reviews.csv"
    data.write_text("title,body,stars\nab,cd,5\n,cd,1\n")
    counting = Counting()

    predict(tmp_path / "out", data, counting, text_column=["title", "body"])

    assert counting.texts == ["ab cd", "cd"]
    assert [row["stars"] for row in predicted(tmp_path / "out")] == ["5", "1"]


@pytest.mark.parametrize("shard_rows", [1, 2, 100])
def test_rows_without_a_prediction_are_counted_and_written_apart(tmp_path: Path, shard_rows: int) -> None:
    data = tmp_path / "reviews.csv"
    data.write_bytes(
        b'id,text\n1,good\n2,\n3,one,two\n4,"two\nlines \xff"\n5,caf\xe9\n6,fine\n7\n8,' + b"y" * 60 + b"\n9,last\n"
    )

    found = predict(tmp_path / "out", data, shard_rows=shard_rows, max_text_characters=50)

    assert [row["id"] for row in predicted(tmp_path / "out")] == ["1", "6", "9"]
    assert rejected(tmp_path / "out") == [
        ("reviews.csv", 3, "the text is empty"),
        ("reviews.csv", 4, "the row has 3 fields, the header has 2"),
        ("reviews.csv", 5, "the bytes are not UTF-8"),
        ("reviews.csv", 7, "the bytes are not UTF-8"),
        ("reviews.csv", 9, "the row has 1 fields, the header has 2"),
        ("reviews.csv", 10, "the text is longer than max_text_characters"),
    ]
    assert (found.rows, found.predicted, found.rejected) == (9, 3, 6)
    assert sum(found.reasons.values()) == 6


@pytest.mark.parametrize("shard_rows", [1, 100])
def test_records_without_a_prediction(tmp_path: Path, shard_rows: int) -> None:
    data = tmp_path / "reviews.jsonl"
    data.write_bytes(
        b'[1]\n{"text": "good"}\n{"text": null}\n{"text": 5}\n\n{"text": "\\ud800"}\n{"text": "caf\xe9"}\nno json\n'
        b'{"other": 1}\n{"text": "last"}\nnot either \xff\n{"text": "odd", "\\ud800": 1}'
    )

    found = predict(tmp_path / "out", data, shard_rows=shard_rows)

    assert [row["text"] for row in predicted(tmp_path / "out")] == ["good", "last"]
    assert [(row, reason) for _, row, reason in rejected(tmp_path / "out")] == [
        (1, "the line is not a JSON object"),
        (3, "the text is empty"),
        (4, "the text is not a string"),
        (6, "the text holds half of a surrogate pair, which is no character"),
        (7, "the bytes are not UTF-8"),
        (8, "the line is not a JSON object"),
        (9, "the text is empty"),
        (11, "the line is not a JSON object"),
        (12, "a field's name holds half of a surrogate pair, which is no character"),
    ]
    assert (found.rows, found.predicted) == (11, 2)


def test_bytes_that_are_no_text_take_no_other_along(tmp_path: Path) -> None:
    values = pa.array([b"good", b"caf\xe9", None, b"last"])
    # A string column that was never looked at, as some writers leave it.
    unchecked = pa.Array.from_buffers(pa.string(), len(values), values.buffers(), values.null_count)
    parquet.write_table(pa.table({"text": unchecked}), tmp_path / "strings.parquet")
    parquet.write_table(pa.table({"text": values}), tmp_path / "bytes.parquet")

    with pytest.raises(
        DataError, match=r"has strings that are not UTF-8\. Write it again as UTF-8, or the column as bytes"
    ):
        predict(tmp_path / "out", tmp_path / "strings.parquet")
    found = predict(tmp_path / "out", tmp_path / "bytes.parquet")

    assert [row["text"] for row in predicted(tmp_path / "out")] == [b"good", b"last"]
    assert [(row, reason) for _, row, reason in rejected(tmp_path / "out")] == [
        (1, "the text is not a string"),
        (2, "the text is empty"),
    ]
    assert (found.rows, found.predicted) == (4, 2)


def test_a_text_that_the_model_fails_on_takes_no_other_along(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = csv(tmp_path / "reviews.csv", 4)
    data.write_text(data.read_text() + "4,poison\n5,x\n")

    found = predict(tmp_path / "out", data, Counting(fails_on="poison"), shard_rows=100)

    assert [row["id"] for row in predicted(tmp_path / "out")] == ["0", "1", "2", "3", "5"]
    assert rejected(tmp_path / "out") == [("reviews.csv", 6, "the model failed on the text")]
    assert found.rejected == 1
    assert "poison" not in "".join(capfd.readouterr())


def test_a_model_that_fails_on_everything_ends_it(tmp_path: Path) -> None:
    with pytest.raises(ScoringError) as caught:
        predict(tmp_path / "out", csv(tmp_path / "reviews.csv"), Counting(fails_on="x"))

    assert "RuntimeError" in str(caught.value)
    assert "xx" not in str(caught.value)


def test_what_was_interrupted_goes_on_and_nothing_is_scored_twice(tmp_path: Path) -> None:
    data, out = csv(tmp_path / "reviews.csv"), tmp_path / "out"
    plan(out, data)
    with pytest.raises(KeyboardInterrupt):
        score(out, Counting(dies_after=10))
    done = sorted(path.name for path in (out / "shards").iterdir())
    assert len(done) == 3
    with pytest.raises(DataError, match="5 of 8 shards are not there"):
        finish_step(output_uri=str(out))

    counting = Counting()
    predict(out, data, counting)

    assert len(counting.texts) == ROWS - 9
    assert answers(predicted(out)) == EXPECTED


@pytest.mark.parametrize("damage", ["cut", "gone", "receipt", "other plan"])
def test_a_shard_that_is_not_whole_is_scored_again(tmp_path: Path, damage: str) -> None:
    data, out = csv(tmp_path / "reviews.csv"), tmp_path / "out"
    predict(out, data)
    part, receipt = out / "predictions" / "part-00002.parquet", out / "shards" / "00002.json"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    elif damage == "gone":
        part.unlink()
    elif damage == "receipt":
        receipt.write_text('{"half":')
    else:
        document = json.loads(receipt.read_text()) | {"plan_sha256": "f" * 64}
        receipt.write_text(json.dumps(document))

    counting = Counting()
    predict(out, data, counting)

    assert len(counting.texts) == 3
    assert answers(predicted(out)) == EXPECTED


def test_parts_without_rows_are_parts_all_the_same(tmp_path: Path) -> None:
    folder, schema = tmp_path / "in", pa.schema([("text", pa.string()), ("stars", pa.int64())])
    folder.mkdir()
    for part, rows in enumerate(([], ["a", "bb"], [])):
        table = pa.table({"text": rows, "stars": range(len(rows))}, schema=schema)
        parquet.write_table(table, folder / f"part-{part}.parquet")

    assert predict(tmp_path / "out", folder, shard_rows=1).rows == 2
    assert [row["stars"] for row in predicted(tmp_path / "out")] == [0, 1]


def test_finishing_twice_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = predict(out, csv(tmp_path / "reviews.csv"))
    before = (out / "predictions.json").read_bytes()

    assert finish_step(output_uri=str(out)).rows == first.rows
    assert (out / "predictions.json").read_bytes() == before


def test_half_written_files_are_no_predictions(tmp_path: Path) -> None:
    data, out = csv(tmp_path / "reviews.csv"), tmp_path / "out"
    plan(out, data)
    (out / "predictions").mkdir()
    left_over = out / "predictions" / f".part-00001.parquet.{'a' * 32}"
    left_over.write_bytes(b"PAR1")

    predict(out, data)

    assert not left_over.exists()
    assert answers(predicted(out)) == EXPECTED


def test_an_input_that_was_changed_is_refused(tmp_path: Path) -> None:
    data, out = csv(tmp_path / "reviews.csv"), tmp_path / "out"
    plan(out, data)
    data.write_text(data.read_text().replace("1,xx", "1,yy"))

    with pytest.raises(DataError, match="was changed since the plan was made"):
        score(out)
    assert not (out / "predictions").exists() or not any((out / "predictions").iterdir())


def test_progress_tells_the_time_that_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(1000, "predict", clock=lambda: now[0])
    for now[0] in (5.0, 10.0, 12.0, 20.0):
        progress.add(100)
    progress.end()

    assert capsys.readouterr().out.splitlines() == [
        "predict: 200 of 1,000 rows, 20 a second, 0:40 left",
        "predict: 400 of 1,000 rows, 20 a second, 0:30 left",
        "predict: 400 rows in 0:20, 20 a second",
    ]
