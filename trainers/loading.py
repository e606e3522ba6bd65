"""Loading training images in an order that a resumed run continues, in the middle of an epoch if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler

Place = Callable[[], tuple[int, int] | None]
"""Says where training stands: the epoch, and the images of it that this process has had; None: it doesn't know."""


class EpochOrder(DistributedSampler[Any]):
    """One rank's share of the images, shuffled by (seed, epoch) and nothing else, as keys `(epoch, index)`."""

    def __init__(self, images: Dataset[Any], ranks: int, rank: int, seed: int, place: Place) -> None:
        """All ranks get equally many images, so some of the last may be left out.

        Args:
            images: what is put in order.
            ranks: number of processes.
            rank: the own one's number.
            seed: of the order.
            place: asked whenever a pass begins; where it doesn't know, the pass is that of `set_epoch`, all of it.
        """
        super().__init__(images, ranks, rank, shuffle=True, seed=seed, drop_last=True)
        self.place = place

    def __iter__(self) -> Iterator[Any]:
        epoch, done = self.place() or (self.epoch, 0)
        self.set_epoch(epoch)
        return ((epoch, index) for index in islice(super().__iter__(), done, None))


class ResumableLoader(DataLoader[Any]):
    """A loader over an `EpochOrder`: a pass that is continued reads only the images that are left of it.

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
