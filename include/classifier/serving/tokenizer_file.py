"""Reads a tokenizer without Transformers, whose import is most of what a server of an ONNX model needs to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a tokenizer of Transformers knows besides its ``tokenizer.json``; all that :mod:`.text` asks for."""

    truncation_side: str
    split_special_tokens: bool
    eos_token_id: int | None
    unk_token_id: int | None
    cls_token_id: int | None
    pad_token_id: int | None


class FileTokenizer:
    """A ``tokenizer.json`` that :func:`write_tokenizer` wrote, and its facts."""

    def __init__(self, backend: Tokenizer, facts: TokenizerFacts) -> None:
        backend.no_padding()
        backend.encode_special_tokens = facts.split_special_tokens
        self.facts = facts
        self._backend = backend
        self._max_length: int | None = None

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> FileTokenizer:
        """Load the tokenizer of a folder.

        :param facts: as :func:`write_tokenizer` returned them.
        """
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), TokenizerFacts(**facts))

    def encode(self, texts: Sequence[str], max_length: int) -> list[Encoding]:
        """Return the encodings of texts, at most so many tokens each; not from two threads at once."""
        if max_length != self._max_length:
            self._backend.enable_truncation(max_length, direction=self.facts.truncation_side)
            self._max_length = max_length
        return self._backend.encode_batch(list(texts))


class TransformersTokenizer:
    """A tokenizer of Transformers, as training has it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.facts = facts_of(tokenizer)
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str], max_length: int) -> list[Encoding]:
        """Return the encodings of texts, at most so many tokens each; not from two threads at once.

        :raises TypeError: for a tokenizer in pure Python, which does not tell what it cut off.
        """
        found = self._tokenizer(list(texts), truncation=True, max_length=max_length, return_attention_mask=False)
        if found.encodings is None:
            raise TypeError(
                f"{type(self._tokenizer).__name__} has no tokenizer.json: choose a base model that has one."
            )
        return list(found.encodings)


def load_in_transformers(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a folder as Transformers does, from its files alone.

    Not by ``AutoTokenizer``, which may run code that lies beside them.
    """
    from transformers import PreTrainedTokenizerFast  # Without torch: a fifth of the time.

    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def facts_of(tokenizer: PreTrainedTokenizerBase) -> TokenizerFacts:
    """Return what a tokenizer of Transformers knows besides its ``tokenizer.json``."""
    return TokenizerFacts(
        truncation_side=tokenizer.truncation_side,
        split_special_tokens=tokenizer.split_special_tokens,
        eos_token_id=tokenizer.eos_token_id,
        unk_token_id=tokenizer.unk_token_id,
        cls_token_id=tokenizer.cls_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_tokenizer(source: Path, target: Path) -> dict[str, Any]:
    """Write a tokenizer so that :class:`FileTokenizer` makes the same of texts as Transformers, and return its facts.

    Transformers adds to a ``tokenizer.json`` what ``tokenizer_config.json`` says: special tokens, and where they stand.

    :param source: a folder that training wrote.
    :param target: folder, gets ``tokenizer.json``.
    """
    tokenizer = load_in_transformers(source)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(target / TOKENIZER_FILE))
    return asdict(facts_of(tokenizer))
