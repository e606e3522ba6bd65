"""Samplers: which subnets a step trains.

A sampler is a pure function of (seed, step, k): every rank draws the same subnets without talking to the
others, and a resumed run repeats none and skips none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from elastic import Arch, SearchSpace
from elastic.errors import TrainingError


class Sampler(Protocol):
    """Chooses the subnets of each step."""

    @property
    def subnets_per_step(self) -> int:
        """How many subnets a step trains, one after the other."""

    def sample(self, space: SearchSpace, seed: int, step: int, k: int) -> Arch:
        """The step's subnet `k` (from 0), out of the part of the space that the phase trains."""


@dataclass(frozen=True)
class SandwichSampler:
    """The largest, the smallest, and `n_random` random subnets.

    The sandwich rule of US-Nets (Yu and Huang, 2019, arXiv:1903.05134) and BigNAS (arXiv:2003.11142).

    Attributes:
        n_random: random subnets a step; two in both papers.
    """

    n_random: int = 2

    def __post_init__(self) -> None:
        if self.n_random < 0:
            raise TrainingError(f"SandwichSampler: n_random is a count of subnets, 0 or more; got {self.n_random}")

    @property
    def subnets_per_step(self) -> int:
        """The two ends, and the random ones."""
        return 2 + self.n_random

    def sample(self, space: SearchSpace, seed: int, step: int, k: int) -> Arch:
        """The largest first: the others may learn from it."""
        if k == 0:
            return space.largest
        if k == 1:
            return space.smallest
        return space.sample((seed, step, k))
