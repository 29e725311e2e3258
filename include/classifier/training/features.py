"""What training makes of some evaluation rows: digests of their token ids, for packaging to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json
from include.classifier.serving.text import clean, tokenise
from include.classifier.serving.tokenizer_file import load_in_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Beside the model; it is not packed.
FEATURES_FILE = "features.json"


class RowFeatures(NamedTuple):
    """What reaches the model of a row."""

    tokens: int
    sha256: str  #: Of the token ids.

    @classmethod
    def of(cls, ids: Sequence[int]) -> RowFeatures:
        """Return the features of a row.

        :param ids: token ids, special ones included.
        """
        return cls(len(ids), hashlib.sha256(b"".join(number.to_bytes(8, "big") for number in ids)).hexdigest())


def digest(rows: Iterable[RowFeatures]) -> str:
    """Return the SHA-256 over rows, in their order."""
    return hashlib.sha256("".join(row.sha256 for row in rows).encode()).hexdigest()


def write_features(
    model_dir: Path, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_length: int
) -> None:
    """Write what training's own tokenizer makes of texts, before anything is saved and loaded again.

    :param texts: as users write them.
    :param max_length: in tokens.
    """
    rows = features_of_texts(tokenizer, texts, max_length=max_length)
    (model_dir / FEATURES_FILE).write_text(json.dumps({"rows": rows}), encoding="utf-8")


def read_features(model_dir: Path, texts: Sequence[str]) -> list[RowFeatures]:
    """Return what training made of texts; of a model without them, what its tokenizer makes of them here.

    :param texts: the same as training had, in the same order.
    """
    path = model_dir / FEATURES_FILE
    if path.is_file():
        found = [RowFeatures(*row) for row in read_json(path)["rows"]]
        if len(found) == len(texts):
            return found
    tokenizer = load_in_transformers(model_dir)
    return features_of_texts(tokenizer, texts, max_length=int(read_json(model_dir / CLASSIFIER_FILE)["max_length"]))


def features_of_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_length: int
) -> list[RowFeatures]:
    """Return the features of each text, as training reads them."""
    found = tokenise(tokenizer, [clean(text) for text in texts], max_length)
    return [RowFeatures.of(ids) for ids in found.input_ids]
