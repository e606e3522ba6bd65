"""Samplers: which subnets a step trains.

A sampler is a pure function of (seed, step, k): every rank draws the same subnets without talking to the
others, and a resumed run repeats none and skips none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from elastic import Arch, SearchSpace
from elastic.errors import TrainingError
from elastic.space.sampling import distinct_rows
from elastic.space.space import Rows
from elastic.support.text import spell_count

_MOST_IN_TURN = 4096
"""A larger space than this isn't gone round."""


@dataclass(frozen=True)
class SamplingContext:
    """All that a sampler may look at.

    Attributes:
        space: the part of the search space that the phase trains.
        macs: the MACs of encoded archs `(n, len(space.dims))` of this space: int64 `(n,)`.
        seed: of the training.
        step: the optimiser step that is about to be trained.
    """

    space: SearchSpace
    macs: Callable[[Rows], NDArray[np.int64]]
    seed: int
    step: int


class Contest(NamedTuple):
    """Several candidates for one subnet of a step: the loss on the step's batch, averaged over ranks, decides.

    Attributes:
        archs: the candidates.
        winner: whether the one with the lowest or the highest loss is trained.
    """

    archs: list[Arch]
    winner: Literal["lowest", "highest"]


class Sampler(Protocol):
    """Chooses the subnets of each step.

    Where a subnet is to learn from the largest of the same step, the largest comes before it.
    """

    @property
    def subnets_per_step(self) -> int:
        """The number of subnets that a step trains, one after the other."""

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The step's subnet `k` (from 0), out of the part of the space that the phase trains."""


@dataclass(frozen=True)
class SandwichSampler(Sampler):
    """The largest, the smallest, and `n_random` random subnets.

    The sandwich rule of US-Nets (Yu and Huang, 2019, arXiv:1903.05134) and BigNAS (arXiv:2003.11142).

    Attributes:
        n_random: random subnets a step; two in both papers.
    """

    n_random: int = 2

    def __post_init__(self) -> None:
        check_count(self, "n_random", at_least=0)

    @property
    def subnets_per_step(self) -> int:
        """The two ends, and the random ones."""
        return 2 + self.n_random

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest first: the others may learn from it."""
        if k == 0:
            return at.space.largest
        if k == 1:
            return at.space.smallest
        return at.space.sample((at.seed, at.step, k))


@dataclass(frozen=True)
class _OfEqualRank(Sampler):
    """`n` subnets a step, all drawn by one rule."""

    n: int

    def __post_init__(self) -> None:
        check_count(self, "n", at_least=1)

    @property
    def subnets_per_step(self) -> int:
        """All `n`."""
        return self.n


@dataclass(frozen=True)
class UniformSampler(_OfEqualRank):
    """`n` random subnets, each dim uniform over its choices.

    As Once-for-All trains (Cai et al., 2020, arXiv:1908.09791).

    Attributes:
        n: subnets a step; one, two and four in the paper's phases, in this order.
    """

    n: int = 1

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """A random subnet."""
        return at.space.sample((at.seed, at.step, k))


@dataclass(frozen=True)
class StrictlyFairSampler(_OfEqualRank):
    """Every choice of every dim is drawn equally often.

    The strict fairness of FairNAS (Chu et al., 2021, arXiv:1907.01845): each dim's choices are dealt to the
    step's subnets without replacement. A dim with fewer choices than others deals some of them more than once, and
    which ones goes round: over any run of steps the counts of a dim's choices differ by one at most. What is dealt
    for a block that the subnet's depth leaves out goes unused.

    Attributes:
        n: subnets a step: as many as the dim with the most choices has.
    """

    n: int = 3

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The `k`-th card that each dim deals.

        Raises:
            TrainingError: the space needs another `n`.
        """
        counts = at.space.counts
        most = int(counts.max(initial=1))
        if most != self.n:
            richest = next((dim.name for dim in at.space.dims if len(dim.choices) == most), "no dim")
            raise TrainingError(
                f"StrictlyFairSampler: n is {self.n}, but a step trains a subnet for each of the {most} choices of "
                f"{richest}, the dim with the most in this phase; set n to {most}"
            )
        dealt = (at.step * self.n + np.arange(self.n)[:, None]) % counts
        shuffled = np.random.default_rng((at.seed, at.step)).permuted(dealt, axis=0)
        return at.space.decode(shuffled[k : k + 1])[0]


@dataclass(frozen=True)
class NestedSampler(_OfEqualRank):
    """The same `n` nested subnets in each step: the `k`-th takes the `k`-th largest choice of every dim.

    As MatFormer trains its feed-forward widths (Devvrit et al., 2023, arXiv:2310.07707), all with equal weight.
    A dim with another number of choices takes the nearest rank: the first subnet is the largest, the last the
    smallest.

    Attributes:
        n: subnets a step; four in the paper.
    """

    n: int = 4

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest first: the others may learn from it."""
        share = 1 - k / max(self.n - 1, 1)
        ranks = np.floor((at.space.counts - 1) * share + 0.5)
        return at.space.decode(ranks[None].astype(np.int16))[0]


@dataclass(frozen=True)
class RoundRobinSampler(_OfEqualRank):
    """Every subnet of the phase in turn, `n` a step; with `n` as many as there are, all of them in each step.

    As DynaBERT trains its four widths, and then its twelve pairs of width and depth (Hou et al., 2020,
    arXiv:2004.04037). For small spaces.

    Attributes:
        n: subnets a step.
    """

    n: int = 4

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest of all is the first.

        Raises:
            TrainingError: too large a space to go round.
        """
        rows = _every_row(at.space)
        turn = (at.step * self.n + k) % len(rows)
        return at.space.decode(rows[turn : turn + 1])[0]


@cache
def _every_row(space: SearchSpace) -> Rows:
    """Every subnet of a small space, from the largest choices to the smallest."""
    counts = space.counts
    if math.prod(counts.tolist()) > _MOST_IN_TURN:  # exact, whatever the size
        raise TrainingError(
            f"RoundRobinSampler: the phase has {spell_count(space.size)} subnets, too many to train in turn; narrow "
            "the phase's choices, or take another sampler such as SandwichSampler"
        )
    grid = counts - 1 - np.indices(tuple(counts)).reshape(len(counts), -1).T
    return distinct_rows(space.canonical(grid.astype(np.int16)))


def check_count(sampler: object, name: str, at_least: int, of: str = "subnets") -> None:
    """Refuse a field that can't be a count.

    Raises:
        TrainingError: it is less than `at_least`.
    """
    value = getattr(sampler, name)
    if value < at_least:
        raise TrainingError(f"{type(sampler).__name__}: {name} is a count of {of}, {at_least} or more; got {value}")
