"""Writes tokenised rows: streamed, so that how much memory it takes does not depend on how many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from include.classifier.shards.manifest import Manifest, Origin, Shard, ShardsError, TokenType

if TYPE_CHECKING:
    import numpy as np

#: A shard ends with the batch that fills it.
SHARD_ROWS = 1 << 20


class TokenisedRows(NamedTuple):
    """Some rows, one after the other."""

    tokens: np.ndarray  #: Of all of them, shape (tokens,).
    lengths: np.ndarray  #: Tokens of each row, int, shape (rows,).
    labels: np.ndarray  #: Class of each row, int, shape (rows,).
    truncated: int = 0  #: Rows that had more tokens.

    @classmethod
    def of(cls, input_ids: Sequence[Sequence[int]], labels: Sequence[int] | np.ndarray, truncated: int = 0) -> Self:
        """Return rows that come as lists."""
        import numpy as np

        lengths = np.fromiter(map(len, input_ids), np.int64, len(input_ids))
        every = (token for ids in input_ids for token in ids)
        return cls(np.fromiter(every, np.int64, int(lengths.sum())), lengths, np.asarray(labels, np.int64), truncated)


def write_shards(
    batches: Iterable[TokenisedRows],
    folder: Path,
    *,
    origin: Origin,
    token_type: TokenType,
    shard_rows: int = SHARD_ROWS,
) -> Manifest:
    """Write rows in their order, and ``shards.json`` last. The same batches give the same bytes.

    :param folder: is made; what an earlier try left there is written over.
    :param shard_rows: after so many rows, at the end of a batch, another pair of files begins.
    :raises ShardsError: when there are no rows, or one has no tokens or a token that the type does not hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Shard] = []
    truncated = 0
    writer: _ShardWriter | None = None
    try:
        for batch in batches:
            truncated += batch.truncated
            if not len(batch.lengths):
                continue
            writer = writer or _ShardWriter(folder, f"shard-{len(shards):05}", token_type)
            writer.add(batch)
            if writer.rows >= shard_rows:
                shards.append(writer.end())
                writer = None
        if writer:
            shards.append(writer.end())
    finally:
        if writer:
            writer.close()
    if not shards:
        raise ShardsError("There are no rows to tokenise.")
    manifest = Manifest(origin=origin, token_type=token_type, truncated=truncated, shards=shards)
    manifest.write(folder)
    return manifest


class _ShardWriter:
    """Writes one pair of files."""

    def __init__(self, folder: Path, name: str, token_type: TokenType) -> None:
        self._name, self._token_type = name, token_type
        self._tokens = _Digested((folder / f"{name}.tokens").open("wb"))
        self._rows = _Digested((folder / f"{name}.rows").open("wb"))
        self.rows = self._written = 0

    def add(self, batch: TokenisedRows) -> None:
        """Write some rows."""
        import numpy as np

        if batch.tokens.max() > np.iinfo(self._token_type).max or batch.lengths.min() < 1:
            raise ShardsError("A row has no tokens, or one with a higher number than the tokenizer's vocabulary has.")
        rows = np.empty(len(batch.lengths), np.dtype("<u8,<u4,<u4"))  # as ROW has it
        begins = self._written + np.cumsum(batch.lengths) - batch.lengths
        rows["f0"], rows["f1"], rows["f2"] = begins, batch.lengths, batch.labels
        self._tokens.write(batch.tokens.astype(self._token_type).tobytes())
        self._rows.write(rows.tobytes())
        self.rows += len(rows)
        self._written += len(batch.tokens)

    def end(self) -> Shard:
        """Return what was written; nothing more comes."""
        self.close()
        return Shard(
            name=self._name,
            rows=self.rows,
            tokens=self._written,
            tokens_sha256=self._tokens.hexdigest(),
            rows_sha256=self._rows.hexdigest(),
        )

    def close(self) -> None:
        self._tokens.close()
        self._rows.close()


class _Digested:
    """A file whose bytes are digested as they are written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._sha256.update(content)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()

    def close(self) -> None:
        self._file.close()
