"""However files are divided into parts, what comes out is what one process makes of them: bytes, numbers and words."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data.problems import DataError
from include.classifier.preprocess import preprocess
from include.classifier.preprocess_steps import Request, merge_step, plan_step, read_step
from include.contracts.settings import DataConfig

WORDS = (
    "kind",
    "quick",
    "tidy",
    "cheap",
    "wárm",
    "fresh",
    "calm",
    "bright",
    "fair",
    "neat",
    "   ",
    "a\u0301",
    "me@example.org",
    "+49 30 1234567",
)
AS_OF = "2026-03-03T12:00:00+00:00"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


def a_row(chance: random.Random, spoilt: bool) -> dict[str, Any]:
    text = " ".join(chance.choices(WORDS, k=chance.randint(0, 3)))
    label: Any = chance.choice(["1", "2", "1", "2", 2, " 1 ", "7", None, "x" * 50])
    if spoilt and chance.random() < 0.05:
        text, label = chance.choice(
            [("long " * 100, "1"), (7, "1"), ("half \ud800", "1"), (text, ["1"]), (text, "\udc00")]
        )
    return {
        "text": text,
        "label": label,
        "at": chance.choice(["2026-03-01", "2026-03-02", "2026-02-01", "", "2026-03-03"]),
    }


def write_file(folder: Path, name: str, chance: random.Random, spoilt: bool) -> Path:
    rows = [a_row(chance, spoilt) for _ in range(chance.choice([0, 1, 40, 150]))]
    kind = chance.choice(["csv", "jsonl", "parquet"])
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        columns = {
            key: [str(row[key]).encode(errors="replace").decode() for row in rows] for key in ("text", "label", "at")
        }
        parquet.write_table(pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()}), path)
        return path
    if kind == "csv":
        lines = ["text,label,at", *(f'"{row["text"]}",{row["label"]},{row["at"]}' for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
        if spoilt and chance.random() < 0.5:
            lines.insert(chance.randint(0, len(lines)), chance.choice(["[1]", "{", "no object"]))
    content = "".join(f"{line}\n" for line in lines).encode(
        chance.choice(ENCODINGS) if kind == "csv" else "utf-8", "replace"
    )
    if spoilt and chance.random() < 0.3:
        content += b'"b\xffd",1,2026-03-01\n'
    path.write_bytes(content)
    return path


def make(folder: Path, chance: random.Random, *, spoilt: bool) -> DataConfig:
    def files(split: str, count: int) -> list[str]:
        return [str(write_file(folder, f"{split}-{number}", chance, spoilt)) for number in range(count)]

    train = files("train", chance.randint(1, 5))
    if chance.random() < 0.3:
        train.append(chance.choice(train))
    if spoilt and chance.random() < 0.3:
        train.insert(chance.randint(0, len(train)), str(folder / "nowhere.csv"))
    dated = chance.random() < 0.4
    sliced = chance.random() < 0.4
    return DataConfig(
        train=train,
        evaluation=files("evaluation", chance.randint(1, 3)) if chance.random() < 0.7 else [],
        labels={"1": "bad", "2": "good"},
        min_rows=chance.choice([2, 2, 100]),
        min_evaluation_rows=2,
        max_text_characters=100,
        personal_data={"email": chance.choice(["tell", "mask"]), "phone": "refuse" if spoilt else "tell"},  # type: ignore[arg-type]
        **({"date_column": "at", "last": "3 days"} if dated else {}),  # type: ignore[arg-type]
        slices=[{"name": "first", "column": "at", "equals": "2026-03-01"}] if sliced and not dated else [],  # type: ignore[arg-type]
    )


def whole(data: DataConfig, folder: Path, seed: int) -> dict[str, Any]:
    return preprocess(data, model="reviews", seed=seed, output_uri=folder.as_uri(), as_of=datetime.fromisoformat(AS_OF))


def request(data: DataConfig, folder: Path) -> Request:
    return Request(data=data.model_dump_json(), output_uri=folder.as_uri(), as_of=AS_OF)


def in_parts(data: DataConfig, folder: Path, seed: int, *, parts: int, chance: random.Random) -> dict[str, Any]:
    asked = request(data, folder)
    numbers = plan_step(asked, parts=parts)
    for part in chance.sample(numbers, len(numbers)):
        read_step(asked, part=int(part))
    return merge_step(asked, model_name="reviews", seed=seed)


def outcome(made: Any, folder: Path, printed: str) -> tuple[Any, ...]:
    """Return all that there is to see of it, but when it was."""
    if isinstance(made, DataError):
        return made.problems, str(made), sorted(path.name for path in folder.glob("*.parquet"))
    files = {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "dataset.json"
    }
    uri = folder.as_uri()
    document = json.loads((folder / "dataset.json").read_text(encoding="utf-8").replace(uri, "HERE"))
    assert json.loads(json.dumps(made).replace(uri, "HERE")) == document
    return document | {"created_at": ""}, files, _told(printed)


def _told(printed: str) -> list[str]:
    """Return the lines about the data, without those on how far it is."""
    lines = [
        line
        for line in printed.splitlines()
        if not line.startswith(("Days:", "plan:", "read:")) and "rows read." not in line
    ]
    first = [line for line in lines if ", first " in line]
    return [line.partition(" written to ")[0] for line in lines if line not in first]


def attempt(make: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return make(*arguments, **named)
    except DataError as error:
        return error


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_parts_give_what_one_process_gives(
    tmp_path: Path, seed: int, spoilt: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(1000 * spoilt + seed)
    data = make(tmp_path, chance, spoilt=spoilt)
    expected = attempt(whole, data, tmp_path / "whole", seed)
    told = capsys.readouterr().out

    found = attempt(in_parts, data, tmp_path / "parts", seed, parts=chance.randint(1, 6), chance=chance)

    assert outcome(found, tmp_path / "parts", capsys.readouterr().out) == outcome(expected, tmp_path / "whole", told)
    assert not (tmp_path / "parts" / "parts").exists()


def few(folder: Path, **changes: Any) -> DataConfig:
    for name in ("a", "b", "c"):
        rows = "".join(f"{name} row {row},{1 + row % 2}\n" for row in range(20))
        (folder / f"{name}.csv").write_text(f"text,label\n{rows}")
    return DataConfig(
        train=[str(folder / "?.csv")], labels={"1": "bad", "2": "good"}, min_rows=2, min_evaluation_rows=2, **changes
    )


def test_a_part_that_was_read_is_not_read_again_and_that_of_an_earlier_plan_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(few(tmp_path), tmp_path / "dataset")
    assert plan_step(asked, parts=2) == ["0", "1"]
    read_step(asked, part=0)
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"changed {row},1\n" for row in range(20)))
    read_step(asked, part=0)
    read_step(asked, part=1)
    document = merge_step(asked, model_name="reviews", seed=1)
    assert sorted(document["splits"]["train"]["label_counts"].values()) == [24, 24]

    plan_step(asked, parts=2)
    for part in (0, 1):
        read_step(asked, part=part)
    assert merge_step(asked, model_name="reviews", seed=1)["sha256"] != document["sha256"]


def test_what_is_not_as_planned_is_refused(tmp_path: Path) -> None:
    data = few(tmp_path)
    asked = request(data, tmp_path / "dataset")
    with pytest.raises(DataError, match="holds no plan"):
        read_step(asked, part=0)
    plan_step(asked, parts=3)
    with pytest.raises(DataError, match="3 of 3 parts are not there"):
        merge_step(asked, model_name="reviews", seed=1)

    plan_step(asked, parts=3)
    with pytest.raises(DataError, match="other settings"):
        read_step(request(data.model_copy(update={"unescape": True}), tmp_path / "dataset"), part=0)
    (tmp_path / "d.csv").write_text("text,label\nnew,1\n")
    with pytest.raises(DataError, match="came or went"):
        read_step(asked, part=0)
    (tmp_path / "d.csv").unlink()
    for part in range(3):
        read_step(asked, part=part)
    file = tmp_path / "dataset" / "parts" / "part-00001.rows"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"part-00001\.rows: was changed"):
        merge_step(asked, model_name="reviews", seed=1)


def test_texts_that_are_dropped_already_are_not_written_down(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nkept row,1\nsecret row,9\nlong label," + "very " * 20 + "\n")
    data = DataConfig(train=[str(tmp_path / "a.csv")], labels={"1": "bad", "2": "good"})
    asked = request(data, tmp_path / "dataset")
    plan_step(asked, parts=1)
    read_step(asked, part=0)

    folder = tmp_path / "dataset" / "parts"
    rows = pa.ipc.open_stream(folder / "part-00000.rows").read_all()
    labels = pa.ipc.open_stream(folder / "part-00000.labels").read_all()

    assert rows.column("text").to_pylist() == ["kept row", "", ""]
    assert [len(label) for label in labels.column("label").to_pylist()] == [1, 64]


def test_no_address_with_a_secret_is_written_down(tmp_path: Path) -> None:
    asked = Request(
        data='{"train": ["https://user:hidden@127.0.0.1:9/a.csv?sig=hidden"], "labels": ["1", "2"]}',
        output_uri=(tmp_path / "dataset").as_uri(),
    )
    plan_step(asked, parts=1)

    assert "hidden" not in (tmp_path / "dataset" / "parts" / "plan.json").read_text()
    assert "127.0.0.1" in (tmp_path / "dataset" / "parts" / "plan.json").read_text()
