"""Loading training examples in an order that a resumed run continues, in the middle of an epoch if need be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler

Place = Callable[[], tuple[int, int] | None]
"""Says where training stands: the epoch, and the examples of it that this process has had; None: it doesn't know."""


_POOL = 50
"""Batches that examples are sorted by length within: few enough to leave batches that differ each epoch."""


class EpochOrder(DistributedSampler[Any]):
    """One rank's share of the examples, shuffled by (seed, epoch) and nothing else, as keys `(epoch, index)`."""

    def __init__(
        self,
        examples: Dataset[Any],
        ranks: int,
        rank: int,
        seed: int,
        place: Place,
        lengths: Sequence[int] = (),
        batch_size: int = 1,
    ) -> None:
        """All ranks get equally many examples, so some of the last may be left out.

        Args:
            examples: what is put in order.
            ranks: number of processes.
            rank: the own one's number.
            seed: of the order.
            place: asked whenever a pass begins; where it doesn't know, the pass is that of `set_epoch`, all of it.
            lengths: of the examples: those in a batch have similar ones, so that little is padded; where there are
                none, all orders are alike.
            batch_size: of these batches.
        """
        super().__init__(examples, ranks, rank, shuffle=True, seed=seed, drop_last=True)
        self.place = place
        self.lengths = lengths
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        epoch, done = self.place() or (self.epoch, 0)
        self.set_epoch(epoch)
        order = self._by_length(list(super().__iter__())) if self.lengths else super().__iter__()
        return ((epoch, index) for index in islice(order, done, None))

    def _by_length(self, order: list[int]) -> list[int]:
        """The same order, sorted by length within pools of many batches, and the batches shuffled again."""
        size, pool = self.batch_size, self.batch_size * _POOL
        pools = (sorted(order[at : at + pool], key=self.lengths.__getitem__) for at in range(0, len(order), pool))
        sort = [index for each in pools for index in each]
        batches = [sort[at : at + size] for at in range(0, len(sort), size)]
        last = batches.pop() if len(batches[-1]) < size else []  # where it is dropped, it must be the last
        random.Random(f"{self.seed}/{self.epoch}").shuffle(batches)
        return [index for batch in [*batches, last] for index in batch]


class ResumableLoader(DataLoader[Any]):
    """A loader over an `EpochOrder`: a pass that is continued reads only the examples that are left of it.

    Its length is that of a whole pass. It tells Lightning that it can be resumed by having a state; the state is
    empty, since the order knows its place from the trainer's progress.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # a generator: Lightning asks for the first pass before it has told anyone where training stands, and
        # workers begin to read at once
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""
