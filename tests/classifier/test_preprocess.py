"""From files to a data set in one command, and refusals that say file, row and remedy in their last line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from openpyxl import Workbook
from pyarrow import parquet

from include.classifier.data.dataset import read_dataset, read_split
from include.classifier.data.problems import DataError
from include.classifier.preprocess import main, preprocess
from include.contracts.settings import DataConfig
from include.models import PROJECT_DIR, read_trained_model

WORDS = ("kind", "quick", "tidy", "cheap", "warm", "fresh", "calm", "bright", "fair", "neat")
#: Twenty rows, ten of each label, no text twice.
ROWS = [(f"{word} {place}", label) for label, place in (("1", "inn"), ("2", "bar")) for word in WORDS]


def config(train: Path | list[Path], evaluation: Path | None = None, **changes: Any) -> DataConfig:
    settings = {"labels": {"1": "bad", "2": "good"}, "min_rows": 4, "min_evaluation_rows": 2} | changes
    train = [train] if isinstance(train, Path) else train
    return DataConfig(
        train=[str(path) for path in train], evaluation=[str(evaluation)] if evaluation else [], **settings
    )


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8")
    return path


def run(data: DataConfig, folder: Path, seed: int = 1) -> dict[str, Any]:
    return preprocess(data, model="reviews", seed=seed, output_uri=(folder / "dataset").as_uri())


def test_rows_are_dropped_counted_and_reported_with_their_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = [("", "1"), ("  ", "2"), ("strange", "7"), ("kind  inn", "1"), ("calm inn", "2")]
    train = write_csv(tmp_path / "train.csv", ROWS + spoilt)
    evaluation = write_csv(tmp_path / "evaluation.csv", [("new inn", "1"), ("new bar", "2"), ("fair  bar", "2")])

    document = run(config(train, evaluation), tmp_path)

    assert document["dropped"] == {
        "empty": {"train": 2, "evaluation": 0},
        "unknown_label": {"train": 1, "evaluation": 0},
        "duplicate": {"train": 2, "evaluation": 0},
        "leaked": {"train": 0, "evaluation": 1},
    }
    assert (document["rows_in"], document["rows_kept"]) == (28, 22)
    assert document["sources"] == [
        {"uri": str(train), "split": "train", "rows": 25},
        {"uri": str(evaluation), "split": "evaluation", "rows": 3},
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:9] == [
        "train, first 25 rows: 0 to 10 characters, half at most 8, 95 % at most 10; "
        "labels: bad 12, good 12; not known 1.",
        "evaluation, first 3 rows: 7 to 8 characters, half at most 7, 95 % at most 8; labels: good 2, bad 1.",
        "train: 25 rows read, 5 dropped.",
        f"  empty: 2 ({train} line 22, {train} line 23)",
        f"  unknown_label: 1 ({train} line 24)",
        f"  duplicate: 2 ({train} line 25, {train} line 26)",
        "evaluation: 3 rows read, 1 dropped.",
        f"  leaked: 1 ({evaluation} line 4)",
        f"Duplicates whose label is not that of the row that stays: 1 ({train} line 26)",
    ]
    assert not any(word in line for word in WORDS for line in lines[:9])


def test_a_source_that_no_origin_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "bought" / "train.csv", ROWS)
    found = write_csv(tmp_path / "found.csv", [("new inn", "1"), ("new bar", "2")])
    origins = [{"source": str(tmp_path / "bought"), "licence": "Contract 7"}]

    with pytest.raises(DataError, match="no origin in the model's YAML holds it") as error:
        run(config(train, found, origins=origins), tmp_path)
    assert str(found) in str(error.value)
    with pytest.raises(DataError, match=r"its licence is 'Contract 7', and `data.licences` allows 'MIT'"):
        run(config(train, origins=origins, licences=["MIT"]), tmp_path)
    assert not (tmp_path / "dataset").exists()
    document = run(config(train, origins=origins, licences=["Contract 7"]), tmp_path)
    assert [source["licence"] for source in document["sources"]] == ["Contract 7"]


def test_captured_requests_need_an_origin_of_their_own(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", ROWS)
    data = config(train, origins=[{"source": str(tmp_path), "licence": "own"}])

    with pytest.raises(DataError, match="labelled requests: no origin"):
        preprocess(
            data, model="reviews", seed=1, output_uri=(tmp_path / "d").as_uri(), requests_uri=(tmp_path / "r").as_uri()
        )


@pytest.mark.parametrize("action", ["tell", "mask", "refuse"])
def test_personal_data_are_told_masked_or_refused_and_never_shown(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*ROWS, ("mail me@example.com", "1"), ("or you@example.com", "2")]
    data = config(write_csv(tmp_path / "train.csv", rows), personal_data={"email": action})

    if action == "refuse":
        with pytest.raises(DataError, match="line 22, line 23: the text holds an e-mail address"):
            run(data, tmp_path)
    else:
        document = run(data, tmp_path)
        assert document["personal_data"]["email"] == {"action": action, "rows": {"train": 2, "evaluation": 0}}
        assert document["personal_data"]["card"]["rows"] == {"train": 0, "evaluation": 0}
        written = b"".join(path.read_bytes() for path in (tmp_path / "dataset").iterdir())
        texts = [text for split in ("train", "evaluation") for text in read_split(document, split).texts]
        assert sum("@example.com" in text for text in texts) == (2 if action == "tell" else 0)
        assert sum("[email]" in text for text in texts) == (0 if action == "tell" else 2)
        assert written
    shown = "".join(capsys.readouterr())
    assert "example.com" not in shown
    assert ("e-mail addresses in 2 rows" in shown) is (action != "refuse")


def test_what_the_rows_are_like_stands_beside_them(tmp_path: Path) -> None:
    document = run(config(write_csv(tmp_path / "train.csv", ROWS)), tmp_path)

    assert document["columns"] == {"text": ["text"], "label": ["text"]}
    profile = document["splits"]["train"]["profile"]
    assert (profile["rows"], profile["quantiles"][2], profile["scripts"]) == (16, 8, {"Latin": 1.0})


def test_days_are_resolved_once_and_recorded_with_what_was_found_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in (1, 3):
        lines = [f"{text} {day},{label},2026-03-0{day}T22:30Z\n" for text, label in ROWS] + [
            f"late,1,2026-03-0{day + 3}\n"
        ]
        (tmp_path / f"2026-03-0{day}.csv").write_text("text,label,at\n" + "".join([*lines, "never,1,\n"]))
    data = config(tmp_path / "{date}.csv", last="3 days", date_column="at")
    asked = {"model": "reviews", "seed": 1, "output_uri": (tmp_path / "dataset").as_uri(), "timezone": "Europe/Berlin"}

    # Half past eleven on the third, where it is already the third.
    document = preprocess(data, as_of=datetime.fromisoformat("2026-03-02T23:30+00:00"), **asked)

    pattern = str(tmp_path / "{date}.csv")
    assert document["window"] == {
        "first": "2026-03-01",
        "last": "2026-03-03",
        "timezone": "Europe/Berlin",
        "sources": [{"uri": pattern, "split": "train", "missing": ["2026-03-02"]}],
        "rows_outside": 2,
        "rows_without_date": 2,
    }
    assert document["sources"] == [
        {"uri": str(tmp_path / f"2026-03-0{day}.csv"), "split": "train", "rows": 20, "named": pattern} for day in (1, 3)
    ]
    assert (document["rows_in"], document["rows_kept"]) == (40, 40)
    assert read_dataset((tmp_path / "dataset").as_uri()) == document
    printed = capsys.readouterr().out
    assert "Days: 2026-03-01 to 2026-03-03 (Europe/Berlin)." in printed
    assert "2 addresses, nothing for 2026-03-02." in printed

    (tmp_path / "2026-03-02.csv").write_text("text,label,at\nlater,1,2026-03-02\n")
    again = preprocess(data, as_of=datetime.fromisoformat("2026-03-03T02:00+01:00"), **asked)
    assert {**again, "created_at": ""} == {**document, "created_at": ""}
    with pytest.raises(DataError, match=r"none of its rows is of the days 2026-03-01 .* by 'at'"):
        preprocess(
            config(tmp_path / "2026-03-03.csv", last="1 day", date_column="at"),
            as_of=datetime.fromisoformat("2026-03-01T12:00+00:00"),
            **asked,
        )


def test_all_formats_give_the_same_bytes_and_digest(tmp_path: Path) -> None:
    files = [write_csv(tmp_path / "a.csv", ROWS), *(tmp_path / f"a.{kind}" for kind in ("jsonl", "parquet", "xlsx"))]
    files[1].write_text("".join(json.dumps({"label": int(label), "text": text}) + "\n" for text, label in ROWS))
    table = pa.table({"text": [text for text, _ in ROWS], "label": pa.array([float(label) for _, label in ROWS])})
    parquet.write_table(table, files[2])
    book = Workbook()
    for row in [("label", "text"), *((int(label), text) for text, label in ROWS)]:
        book.active.append(row)
    book.save(files[3])
    files.append(tmp_path / "a.folder")
    for number, (text, label) in enumerate(ROWS):
        (files[4] / label).mkdir(parents=True, exist_ok=True)
        (files[4] / label / f"{number:02}.txt").write_text(text)

    documents = [run(config(file), tmp_path / file.suffix) for file in files]

    assert len({document["sha256"] for document in documents}) == 1
    for split in ("train", "evaluation"):
        contents = {(tmp_path / file.suffix / "dataset" / f"{split}.parquet").read_bytes() for file in files}
        assert len(contents) == 1


@pytest.mark.parametrize(
    ("split_off", "train", "evaluation"),
    [
        (
            False,
            "49cd19e12d0fe7633e582bcef260daa62c5ca5e148dea53ffe7e868762136455",
            "5e4b568cc4cd58a7bb06fd5425f2f151fc77b60913755c9cddbbc9f955b4ce6b",
        ),
        (
            True,
            "6c2fbe5daf1dd31c8d5cdf220fa8cbe8ba3f863f874d87ca00f92b62f8daa4cb",
            "ef9c5edb340f5b265b032c6da040ebd41c5a27c39ad40b0696dbe10de1655b6b",
        ),
    ],
)
def test_sample_data_have_the_digests_that_releases_have_recorded(
    tmp_path: Path, split_off: bool, train: str, evaluation: str
) -> None:
    data = read_trained_model("sample-reviews").data
    if split_off:
        data = data.with_sources(data.train + data.evaluation, [])

    splits = run(data, tmp_path, seed=7)["splits"]

    assert (splits["train"]["sha256"], splits["evaluation"]["sha256"]) == (train, evaluation)


def test_evaluation_rows_are_split_off_where_none_are_given(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", ROWS)

    document = run(config(file, evaluation_fraction=0.3), tmp_path)

    assert document["splits"]["train"]["label_counts"] == {"bad": 7, "good": 7}
    assert document["splits"]["evaluation"]["label_counts"] == {"bad": 3, "good": 3}
    train, evaluation = (read_split(document, split) for split in ("train", "evaluation"))
    assert sorted(train.texts + evaluation.texts) == sorted(text for text, _ in ROWS)
    assert run(config(file, evaluation_fraction=0.3), tmp_path)["sha256"] == document["sha256"]
    assert run(config(file, evaluation_fraction=0.3), tmp_path, seed=2)["sha256"] != document["sha256"]


def test_text_under_two_labels_cannot_stand_on_both_sides_of_a_split(tmp_path: Path) -> None:
    contradicting = [(text, "2" if label == "1" else "1") for text, label in ROWS]

    document = run(config(write_csv(tmp_path / "a.csv", ROWS + contradicting)), tmp_path)

    train, evaluation = (set(read_split(document, split).texts) for split in ("train", "evaluation"))
    assert not train & evaluation
    assert len(train | evaluation) == len(ROWS)


def test_class_without_evaluation_rows_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_csv(tmp_path / "train.csv", [*ROWS, ("so so inn", "3"), ("so so bar", "3")])
    evaluation = write_csv(tmp_path / "evaluation.csv", [("new inn", "1"), ("new bar", "2")])

    run(config(train, evaluation, labels={"1": "bad", "2": "good", "3": "medium"}), tmp_path)

    assert "Warning: no evaluation row has the label medium" in capsys.readouterr().out


def test_header_without_rows_is_refused_for_both_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(config(write_csv(tmp_path / "a.csv", [])), tmp_path)

    assert [problem.partition(" (")[0] for problem in caught.value.problems] == [
        "train data: rows left: 0",
        "evaluation data: rows left: 0",
    ]


def test_evaluation_on_the_training_rows_is_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", ROWS)

    with pytest.raises(DataError, match=r"evaluation data: rows left: 0 \(dropped: 20 leaked\)"):
        run(config(file, file), tmp_path)


def test_problems_of_all_files_are_found_in_one_go(tmp_path: Path) -> None:
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("text,label\nfine, really,1\n")
    long = write_csv(tmp_path / "long.csv", [("far too long a text", "1")])
    foreign = tmp_path / "foreign.csv"
    foreign.write_bytes("text,label\nd\xe9j\xe0 vu,1\n".encode("latin-1"))

    with pytest.raises(DataError) as caught:
        run(config([ragged, long, foreign, tmp_path / "none.csv"], max_text_characters=12), tmp_path)

    places = {problem.split(": ")[0].replace(f"{tmp_path}/", "") for problem in caught.value.problems}
    assert places == {"ragged.csv, line 2", "long.csv, line 2", "foreign.csv, line 2 (byte 13)", "none.csv"}
    assert not (tmp_path / "dataset").exists()


@pytest.mark.processes
class TestCommand:
    def call(self, data: DataConfig | str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        data = data if isinstance(data, str) else data.model_dump_json()
        arguments = ["--model", "reviews", "--data", data, "--seed", "7", "--output-uri", (folder / "dataset").as_uri()]
        return subprocess.run(
            [sys.executable, "-m", "include.classifier.preprocess", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,  # not the project's folder: relative paths must not depend on it
            env=os.environ | {"PYTHONPATH": str(PROJECT_DIR)} | environment,
            check=False,
        )

    def test_sample_data_becomes_a_data_set(self, tmp_path: Path) -> None:
        data = read_trained_model("sample-reviews").data

        done = self.call(data, tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
        document = read_dataset((tmp_path / "dataset").as_uri())
        assert (document["splits"]["train"]["rows"], document["splits"]["evaluation"]["rows"]) == (600, 150)
        assert document["sha256"] in done.stdout

    def test_wrong_data_ends_with_2_and_one_line_that_says_why(self, tmp_path: Path) -> None:
        file = write_csv(tmp_path / "a.csv", [("private words", "1"), ("more private words", "1")])

        done = self.call(config(file), tmp_path)

        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("train data: ")
        assert "one single label: '1'" in line
        assert "private" not in done.stdout + done.stderr

    def test_wrong_settings_end_with_2(self, tmp_path: Path) -> None:
        done = self.call('{"train": ["a.csv"], "labels": {"1": "bad"}, "colour": "red"}', tmp_path)

        assert done.returncode == 2
        assert "colour" in done.stderr.splitlines()[-1]

    def test_hub_that_cannot_be_reached_is_worth_another_try(self, tmp_path: Path) -> None:
        data = DataConfig(train=["hub:owner/reviews"], labels={"1": "bad", "2": "good"})

        done = self.call(data, tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("hub:owner/reviews: the Hub could not be reached")

    def test_store_that_cannot_be_written_to_is_worth_another_try(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = write_csv(tmp_path / "a.csv", ROWS)
        (tmp_path / "taken").write_text("a file where the folder should be")
        arguments = ["--model", "reviews", "--data", config(file).model_dump_json()]

        code = main([*arguments, "--output-uri", (tmp_path / "taken" / "dataset").as_uri()])

        assert code == 1
        assert "taken" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.yelp
class TestYelpReviews:
    """The fifty rows of test.csv also stand in validation.csv."""

    @pytest.fixture
    def folder(self) -> Path:
        folder = os.environ.get("YELP_DATA_DIR", "")
        if not folder or not Path(folder, "train.csv").is_file():
            pytest.skip("YELP_DATA_DIR does not name the folder with train.csv, validation.csv and test.csv")
        return Path(folder)

    def config(self, **files: list[Path]) -> DataConfig:
        settings = read_trained_model("yelp-reviews").data.model_dump()
        return DataConfig(**settings | {split: list(map(str, paths)) for split, paths in files.items()})

    def test_real_reviews_are_read_without_a_loss(self, folder: Path, tmp_path: Path) -> None:
        document = run(self.config(train=[folder / "train.csv"], evaluation=[folder / "validation.csv"]), tmp_path)

        assert list(document["splits"]["train"]["label_counts"].values()) == [209, 199, 191, 204, 197]
        assert document["splits"]["evaluation"]["rows"] == 100
        texts = read_split(document, "train").texts
        assert not [text for text in texts if "\\n" in text or '\\"' in text]

    def test_rows_that_stand_in_both_evaluation_files_count_once(self, folder: Path, tmp_path: Path) -> None:
        evaluation = [folder / "validation.csv", folder / "test.csv"]

        document = run(self.config(train=[folder / "train.csv"], evaluation=evaluation), tmp_path)

        assert document["dropped"]["duplicate"] == {"train": 0, "evaluation": 50}
        assert document["splits"]["evaluation"]["rows"] == 100

    def test_rows_that_are_trained_on_are_not_evaluated_on(self, folder: Path, tmp_path: Path) -> None:
        document = run(self.config(train=[folder / "test.csv"], evaluation=[folder / "validation.csv"]), tmp_path)

        assert document["dropped"]["leaked"] == {"train": 0, "evaluation": 50}
        assert document["splits"]["evaluation"]["rows"] == 50

    def test_nothing_is_left_where_all_evaluation_rows_are_trained_on(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"evaluation data: rows left: 0 \(dropped: 50 leaked\)"):
            run(self.config(train=[folder / "validation.csv"], evaluation=[folder / "test.csv"]), tmp_path)
