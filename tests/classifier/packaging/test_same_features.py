"""What is packed sees what training saw; whatever makes other token ids of a text does not become a package."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.packaging.same_features import FeatureSkewError, check_same_features, served_ids
from include.classifier.training.features import FEATURES_FILE, RowFeatures, write_features

WORDS = ["good", "Bad", "food", "  place", "was\u00a0very", "slow", "cafe\u0301", "never!", "again", "\u200b", "中文"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 25))) + " good" for _ in range(40)]


@pytest.fixture(scope="module")
def archive(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an unpacked archive; not to be changed."""
    folder = tmp_path_factory.mktemp("archive")
    built = build_archive(tiny_model, model="tiny", version="20261121030000", target=folder / "tiny.mar")
    return open_archive(built.path, folder / "unpacked", sha256=built.sha256)


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(archive, tmp_path / "unpacked"))


def replace(path: Path, old: str, new: str) -> None:
    source = path.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new), encoding="utf-8")


def trained(tiny_model: Path, folder: Path, texts: list[str], *, max_length: int = 16) -> Path:
    """Return the folder of a model with what training saw of texts."""
    from transformers import PreTrainedTokenizerFast

    shutil.copytree(tiny_model, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_model)
    write_features(folder, tokenizer, texts, max_length=max_length)
    return folder


def test_the_archives_own_code_sees_what_training_saw(
    archive: Path, tiny_model: Path, texts: list[str], tmp_path: Path
) -> None:
    model_dir = trained(tiny_model, tmp_path / "model", texts)

    found = check_same_features(archive, model_dir, texts)

    assert found["rows"] == 40 and found["tokens"] > 100
    assert found == check_same_features(archive, tiny_model, texts)  # a model that was trained before this was written
    assert not [name for name in sys.modules if name.startswith("classifier_serving")]
    kept = json.loads((model_dir / FEATURES_FILE).read_text(encoding="utf-8"))["rows"]
    assert [len(row) for row in kept] == [2] * 40 and all(len(sha256) == 64 for _, sha256 in kept)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("text.py", '"" if is_blank(text) else', '"" if is_blank(text) else "the " +'),
        ("text.py", 'unicodedata.normalize("NFC", text)', 'unicodedata.normalize("NFC", text)[:-5]'),
        ("predictor.py", "self.max_length)", "self.max_length - 1)"),
        ("predictor.py", "[clean(text) for text in texts]", "[clean(text)[::-1] for text in texts]"),
    ],
)
def test_other_cleaning_or_reading_in_the_archive_is_refused_with_the_row_and_no_text(
    name: str, old: str, new: str, unpacked: Path, tiny_model: Path, texts: list[str]
) -> None:
    replace(unpacked / "classifier_serving" / name, old, new)

    with pytest.raises(FeatureSkewError, match="reach the packed model as other token ids than in training") as error:
        check_same_features(unpacked, tiny_model, texts)
    assert "row " in str(error.value)
    assert not any(word.strip() in str(error.value).split() for word in ("food", "place", "slow", "again"))


def test_another_tokenizer_in_the_archive_is_refused(unpacked: Path, tiny_model: Path, texts: list[str]) -> None:
    content = json.loads((unpacked / "tokenizer.json").read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    words["good"], words["bad"] = words["bad"], words["good"]
    (unpacked / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(FeatureSkewError, match="of 40 evaluation rows"):
        check_same_features(unpacked, tiny_model, texts)


def test_another_length_than_in_training_is_refused(
    archive: Path, tiny_model: Path, texts: list[str], tmp_path: Path
) -> None:
    model_dir = trained(tiny_model, tmp_path / "model", texts, max_length=12)

    with pytest.raises(FeatureSkewError, match="16 tokens, in training 12"):
        check_same_features(archive, model_dir, texts)


def test_a_handler_that_refuses_what_was_trained_on_is_told(unpacked: Path, tiny_model: Path, texts: list[str]) -> None:
    replace(
        unpacked / "classifier_serving" / "text.py",
        "    return Tokens(rows,",
        "    raise ValueError(texts)\n    return Tokens(rows,",
    )

    with pytest.raises(FeatureSkewError, match=r"does not start|asked the model for 0 rows") as error:
        check_same_features(unpacked, tiny_model, texts)
    assert "food" not in str(error.value)


def test_a_handler_that_fails_is_told_without_its_message(unpacked: Path, tiny_model: Path, texts: list[str]) -> None:
    source = "        began = time.monotonic()\n        until"
    replace(
        unpacked / "classifier_serving" / "handler.py", source, "        raise OSError(str(requests))\n        until"
    )

    with pytest.raises(
        FeatureSkewError, match=r"Row 0 of the sample: the archive's handler failed \(OSError\)"
    ) as error:
        check_same_features(unpacked, tiny_model, texts)
    assert "food" not in str(error.value)


def test_the_digest_tells_rows_apart() -> None:
    assert RowFeatures.of([1, 2]) != RowFeatures.of([12]) != RowFeatures.of([2, 1])


def test_ids_are_those_of_each_text_by_itself(archive: Path) -> None:
    both = served_ids(archive, ["good food", "bad"])
    assert both == [*served_ids(archive, ["good food"]), *served_ids(archive, ["bad"])]
