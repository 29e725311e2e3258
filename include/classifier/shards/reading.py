"""Reads tokenised rows by their numbers, a few at a time; none of them stays in memory."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.classifier.shards.manifest import ROW, Manifest, ShardsError, read_manifest

if TYPE_CHECKING:
    import numpy as np

#: Pairs of files that a process holds open; the one that was needed longest ago is closed for another.
_MOST_OPEN = 128
_CHUNK_BYTES = 1 << 20


class StoredRows:
    """The rows of a folder, by their numbers from 0; a data set as PyTorch's loader takes it.

    Rows are read from the files, and not through a map of them into memory: the pages of a map count as memory of the
    process, and an epoch touches all of them. What the system keeps of the files is its own, and is given up when a
    program needs memory. Files are opened when a row of them is wanted, so that a copy of it may go to another process.

    :param folder: with ``shards.json``.
    :raises ShardsError: when there is none, or a file has not the size that it says.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise ShardsError(f"{folder}: holds no finished rows.")
        self.folder, self.manifest = folder, manifest
        self._ends = list(accumulate(shard.rows for shard in manifest.shards))
        self._open: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._check_sizes(manifest)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.__getitems__([range(len(self))[number]])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return several rows: ``input_ids``, a list, and ``labels``, the class."""
        found = self.read(numbers)
        return [{"input_ids": tokens.tolist(), "labels": label} for tokens, label in found]

    def read(self, numbers: Sequence[int] | np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Return token numbers, shape (tokens,), and class of some rows, in the order in which they were asked for.

        :raises ShardsError: when a file ends early.
        """
        import numpy as np

        found = []
        width = int(self.manifest.token_type[-1])
        for number in numbers:
            (tokens, _), (begin, length, label) = self._row(int(number))
            content = os.pread(tokens, width * length, width * begin)
            if len(content) < width * length:
                raise self._broken()
            found.append((np.frombuffer(content, self.manifest.token_type), label))
        return found

    def lengths(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return how many tokens some rows have, int64, shape (rows,)."""
        import numpy as np

        return np.fromiter((self._row(int(number))[1][1] for number in numbers), np.int64, len(numbers))

    def labels(self, numbers: Sequence[int] | np.ndarray) -> list[int]:
        """Return the class of some rows."""
        return [self._row(int(number))[1][2] for number in numbers]

    def verify(self) -> None:
        """Read all files and compare them with their digests.

        :raises ShardsError: when one was changed.
        """
        for shard in self.manifest.shards:
            for kind, sha256 in (("tokens", shard.tokens_sha256), ("rows", shard.rows_sha256)):
                content = hashlib.sha256()
                with (self.folder / f"{shard.name}.{kind}").open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        content.update(chunk)
                if content.hexdigest() != sha256:
                    raise self._broken()

    def close(self) -> None:
        """Close its files; a row that is asked for later opens them again."""
        while self._open:
            for handle in self._open.popitem()[1]:
                os.close(handle)

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def _row(self, number: int) -> tuple[tuple[int, int], tuple[int, int, int]]:
        """Return the open files of a row's shard; and where its tokens begin, how many there are, and its class."""
        shard = bisect_right(self._ends, number)
        handles = self._handles(shard)
        before = self._ends[shard - 1] if shard else 0
        content = os.pread(handles[1], ROW.size, ROW.size * (number - before))
        if len(content) < ROW.size:
            raise self._broken()
        return handles, ROW.unpack(content)

    def _handles(self, shard: int) -> tuple[int, int]:
        if found := self._open.get(shard):
            self._open.move_to_end(shard)
            return found
        if len(self._open) >= _MOST_OPEN:
            for handle in self._open.popitem(last=False)[1]:
                os.close(handle)
        path = self.folder / self.manifest.shards[shard].name
        handles = os.open(f"{path}.tokens", os.O_RDONLY), os.open(f"{path}.rows", os.O_RDONLY)
        self._open[shard] = handles
        return handles

    def _check_sizes(self, manifest: Manifest) -> None:
        for shard in manifest.shards:
            expected = {
                "tokens": shard.tokens * int(manifest.token_type[-1]),
                "rows": shard.rows * ROW.size,
            }
            for kind, size in expected.items():
                file = self.folder / f"{shard.name}.{kind}"
                if not file.is_file() or file.stat().st_size != size:
                    raise self._broken()

    def _broken(self) -> ShardsError:
        return ShardsError(f"{self.folder}: its files are not those that were written there. Delete the folder.")
