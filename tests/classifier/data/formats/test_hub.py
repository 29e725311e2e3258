"""Data sets of the Hub: the datasets library takes a folder of that name for one, so that no Hub is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source, SplitName
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import Row, read_rows, write

DATA = DataConfig(train=["unused"], labels={"1": "bad", "2": "good"})


def read(uri: str, data: DataConfig = DATA) -> tuple[list[Row], list[str]]:
    problems = Problems()
    return read_rows(Source(uri, "train"), data, problems), problems.messages()


@pytest.fixture(autouse=True)
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "owner" / "reviews"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        rows = [{"text": f"{split} {number}", "label": number} for number in (1, 2)]
        write(folder / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("uri", "split", "first"),
    [
        ("hub:owner/reviews", "train", "train 1"),
        ("hub:owner/reviews", "evaluation", "test 1"),
        ("hub:owner/reviews:test", "train", "test 1"),
    ],
)
def test_split_is_the_one_named_or_the_usual_one(uri: str, split: SplitName, first: str) -> None:
    rows = read_rows(Source(uri, split), DATA, Problems())

    assert rows == [Row(0, first, 1), Row(1, first.replace("1", "2"), 2)]


def test_unknown_split_is_named_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"hub:owner/reviews:dev: split 'dev' cannot be read.*test"):
        read("hub:owner/reviews:dev")


def test_missing_columns_are_named() -> None:
    problems = read("hub:owner/reviews", DATA.model_copy(update={"text_column": "review"}))[1]

    assert problems[0].startswith("hub:owner/reviews: missing columns: 'review'; there are: 'text', 'label'.")


def test_classes_are_found_by_number_or_by_name(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    folder = tmp_path / "owner" / "named"
    folder.mkdir()
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    rows.to_parquet(folder / "train.parquet")

    by_number = DATA.model_copy(update={"labels": {"0": "bad", "1": "good"}})
    by_name = DATA.model_copy(update={"labels": {"good": "+", "bad": "-"}})

    assert [row.label for row in read("hub:owner/named", by_number)[0]] == [0, 1]
    assert [row.label for row in read("hub:owner/named", by_name)[0]] == ["bad", "good"]


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["1", "2", "3"], ["1", "2", "3"], ["1", "2", "3"]),
        (["3", "1", "2"], ["1", "2", "3"], ["3", "1", "2"]),
        (["1", "10", "2"], ["2", "10", "1"], ["1", "10", "2"]),
        (["neg", "pos", "mixed"], ["0", "1", "2"], [0, 1, 2]),
        (["neg", "pos", "mixed"], ["neg", "pos"], ["neg", "pos", "mixed"]),
        (["neg", "pos", "mixed"], ["Neg", "pos"], ["neg", "pos", "mixed"]),
    ],
)
def test_classes_keep_their_meaning(
    tmp_path: Path, names: list[str], labels: list[str], expected: list[str | int]
) -> None:
    classes(tmp_path, names)

    found, problems = read("hub:owner/named", DATA.model_copy(update={"labels": dict.fromkeys(labels, "")}))

    assert ([row.label for row in found], problems) == (expected, [])


def test_labels_that_may_be_names_or_numbers_are_no_guess(tmp_path: Path) -> None:
    classes(tmp_path, ["1", "2", "3"])

    _, (problem,) = read("hub:owner/named", DATA.model_copy(update={"labels": {"0": "a", "1": "b", "2": "c"}}))

    assert "its classes are called '1', '2', '3'" in problem


def classes(tmp_path: Path, names: list[str]) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    folder = tmp_path / "owner" / "named"
    folder.mkdir()
    rows = {"text": [f"text {index}" for index in range(len(names))], "label": list(range(len(names)))}
    Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")


class TestConfigurations:
    @pytest.fixture(autouse=True)
    def configurations(self, tmp_path: Path) -> None:
        folder = tmp_path / "owner" / "several"
        folder.mkdir()
        listed = ""
        for name in ("emotion", "irony"):
            for split in ("train", "validation"):
                write(folder / f"{name}-{split}.jsonl", json.dumps({"text": f"{name} {split}", "label": 1}) + "\n")
            paths = "".join(
                f"  - split: {split}\n    path: {name}-{split}.jsonl\n" for split in ("train", "validation")
            )
            listed += f"- config_name: {name}\n  data_files:\n{paths}"
        write(folder / "README.md", f"---\nconfigs:\n{listed}---\n")

    @pytest.mark.parametrize(
        ("address", "text"),
        [("irony:", "irony train"), ("irony:validation", "irony validation"), ("emotion:train", "emotion train")],
    )
    def test_configuration_and_split_can_be_named(self, address: str, text: str) -> None:
        assert read(f"hub:owner/several:{address}")[0] == [Row(0, text, 1)]

    @pytest.mark.parametrize("address", ["", ":train", ":sarcasm:train"])
    def test_a_configuration_that_is_not_named_rightly_is_named_with_those_there_are(self, address: str) -> None:
        with pytest.raises(DataError, match=r"configurations: emotion, irony\. .*: hub:owner/several:emotion:train"):
            read(f"hub:owner/several{address}")


@pytest.mark.parametrize("address", ["hub:a/b:c:d:e"])
def test_what_is_no_address_of_a_data_set_is_told_the_form(address: str) -> None:
    with pytest.raises(DataError, match="Write hub:owner/name, with :split or :configuration:split"):
        read(address)


def test_a_script_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "owner" / "scripted"
    folder.mkdir()
    write(folder / "scripted.py", "from pathlib import Path\nPath('opened').touch()\n")
    with pytest.raises(DataError, match=r"hub:owner/scripted: cannot be read .* is never run: convert it to Parquet"):
        read("hub:owner/scripted")
    assert not (tmp_path / "opened").exists()
