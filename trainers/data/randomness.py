"""Random numbers that a resumed run draws again: seeded per example, and kept in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator  # numpy.random has them, its types don't
from torch import Tensor, distributed
from torch.utils.data import Dataset

from elastic.errors import CheckpointError, first_line


class SeededExamples(Dataset[Any]):
    """A data set whose augmentation is a pure function of (seed, epoch, index), in whichever process it runs."""

    def __init__(self, examples: Dataset[Any], seed: int) -> None:
        """Keys are `(epoch, index)`, as `trainers.data.loading.EpochOrder` gives them, or an index alone: epoch 0.

        Args:
            examples: what is augmented; its transforms draw from the global generators of Python, numpy and torch.
            seed: of all that they draw.
        """
        self.examples = examples
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, int] | int) -> Any:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int] | int]) -> list[Any]:
        """A batch at once, as `DataLoader` asks for it: the generators are put back once."""
        with _generators_kept():
            return [self._draw(*(key if isinstance(key, tuple) else (0, key))) for key in keys]

    def _draw(self, epoch: int, index: int) -> Any:
        _draw_afresh(self.seed, epoch, index)
        return self.examples[index]


def _draw_afresh(*numbers: int) -> None:
    """Put generators of one's own, seeded with `numbers`, in the place of the global ones on the CPU."""
    sequence = np.random.SeedSequence(numbers)
    seed = int(sequence.generate_state(1)[0])
    random.setstate(random.Random(seed).getstate())
    set_bit_generator(np.random.MT19937(sequence))
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())


@contextmanager
def _generators_kept() -> Iterator[None]:
    """After the block, the global generators on the CPU are what they were."""
    before = random.getstate(), get_bit_generator(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        set_bit_generator(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def drawing(*numbers: int) -> Iterator[None]:
    """Within the block, what is drawn from the global generators on the CPU is a function of `numbers`."""
    with _generators_kept():
        _draw_afresh(*numbers)
        yield


def random_states(device: torch.device) -> list[dict[str, Tensor]]:
    """The states of torch's global generators, which dropout draws from, one entry per rank: for a checkpoint.

    To be called on all ranks together.
    """
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    states: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(states, own)
    return states


def restore_random_states(states: list[dict[str, Tensor]], rank: int, device: torch.device) -> None:
    """Put back what `random_states` gave; nothing for a rank or a device that had no part in it.

    Raises:
        CheckpointError: these aren't states of generators.
    """
    try:
        own = states[rank] if rank < len(states) else {}
        if "cpu" in own:
            torch.set_rng_state(own["cpu"].cpu())
        if "cuda" in own and device.type == "cuda":
            torch.cuda.set_rng_state(own["cuda"].cpu(), device)
    except (TypeError, AttributeError, RuntimeError, LookupError) as error:
        raise CheckpointError(
            f"the checkpoint's random_states aren't those of generators ({first_line(error)}); take another checkpoint"
        ) from error
