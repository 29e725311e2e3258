"""What the files of tokenised rows are: ``shards.json``, which is written last and so vouches for them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MANIFEST = "shards.json"
#: Above so many entries of a vocabulary a token takes four bytes instead of two.
_SMALL_VOCABULARY = 1 << 16

#: How a row stands in ``NAME.rows``: where its tokens begin in the other file, how many there are, and its class.
ROW = struct.Struct("<QII")
#: How a token stands in ``NAME.tokens``, as NumPy writes it: two or four bytes, the lowest first.
TokenType = Literal["<u2", "<u4"]


class ShardsError(ValueError):
    """Files of tokenised rows are not what ``shards.json`` says of them."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Origin(_Part):
    """What the files were made from; other rows, another tokenizer or other settings need other files."""

    dataset_sha256: str  #: Of the rows, and of their labels' names.
    tokenizer_sha256: str
    max_length: int = Field(ge=1)  #: In tokens.
    left_out_sha256: str = ""  #: Of the numbers of rows that are not among them.


class Shard(_Part):
    """One pair of files: ``NAME.tokens`` and ``NAME.rows``."""

    name: str = Field(pattern=r"^shard-\d{5,}$")
    rows: int = Field(ge=1)
    tokens: int = Field(ge=1)
    tokens_sha256: str
    rows_sha256: str


class Manifest(_Part):
    """All of them."""

    schema_version: Literal[1] = 1
    origin: Origin
    token_type: TokenType
    truncated: int = Field(ge=0)  #: Rows that had more tokens.
    shards: list[Shard] = Field(min_length=1)

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Write it so that a reader sees all of it or nothing."""
        hidden = folder / f".{MANIFEST}"
        hidden.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        hidden.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest | None:
    """Return what a folder holds, ``None`` where nothing was finished there.

    :raises ShardsError: when the document is none of these.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise ShardsError(f"{folder / MANIFEST}: is not what was written there. Delete the folder.") from None


def token_type(tokenizer: PreTrainedTokenizerBase) -> TokenType:
    """Return how a token of a tokenizer is written."""
    return "<u2" if max(tokenizer.get_vocab().values(), default=0) < _SMALL_VOCABULARY else "<u4"


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of what a tokenizer makes of texts."""
    rules: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    # What the last call asked for, and no property of the tokenizer.
    rules = {name: value for name, value in rules.items() if name not in ("truncation", "padding")}
    sides: Mapping[str, Any] = {
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": tokenizer.split_special_tokens,
    }
    return hashlib.sha256(json.dumps([rules, sides], sort_keys=True).encode()).hexdigest()
