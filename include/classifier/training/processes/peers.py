"""The processes that train one model together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Peers(NamedTuple):
    """Which of how many this process is; each of its methods is called by all of them at the same place.

    :param rank: from 0; the first one alone writes, prints and decides.
    :param size: how many there are; one asks nobody.
    :param local_rank: the same among those of its node, which share a machine's files and processors.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Peers:
        """Return what the launcher of these processes says in ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``."""
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def is_first_of_node(self) -> bool:
        """Whether this process fetches and writes the files that those of its node share."""
        return self.local_rank == 0

    def first_says(self, value: T) -> T:
        """Return the first process's value to each of them."""
        if self.size == 1:
            return value
        from torch import distributed

        said: list[Any] = [value]
        distributed.broadcast_object_list(said, src=0)
        found: T = said[0]
        return found

    def collect(self, value: T) -> list[T]:
        """Return the values of all, in their order."""
        if self.size == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes; what is no number in one of them is none in the sum."""
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(values)
        return values


#: One process, which asks nobody.
ALONE = Peers()
