"""Samplers that look at what a subnet costs: MACs spread evenly, walked along, or held equal in a contest.

Choosing every dim uniformly gives subnets that are nearly all of middling cost. These draw a target first, and
take what is nearest to it in a random pool that reaches from the smallest subnet to the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from elastic import Arch
from elastic.errors import TrainingError
from elastic.space.sampling import corner_rows, spread_rows
from elastic.space.space import Rows
from trainers.methods.samplers import Contest, Sampler, SamplingContext, check_count

# Candidates for a target: of 128, the nearest is about 0.6 % of the range away.
_POOL = 128

# Steps of the walk that are summed at once.
_BLOCK = 4096

# The last part of a seed: keeps the streams of random numbers apart.
_FOR_POOL, _FOR_BANK, _FOR_WALK = 1, 2, 3

_corner_rows = lru_cache(maxsize=16)(corner_rows)


@dataclass(frozen=True)
class BalancedSampler(Sampler):
    """A sandwich whose middles are spread evenly over the MACs, from the smallest subnet's to the largest's.

    The range is cut into `n` equal parts, and each step has one subnet of each, at a random place in it.

    Attributes:
        n: random subnets a step.
        with_largest: train the largest in each step, too, and first.
        with_smallest: train the smallest in each step, too.
    """

    n: int = 2
    with_largest: bool = True
    with_smallest: bool = True

    def __post_init__(self) -> None:
        check_count(self, "n", at_least=1)

    @property
    def subnets_per_step(self) -> int:
        """The ends, and the random ones."""
        return self.with_largest + self.with_smallest + self.n

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest first: the others may learn from it."""
        ends = [at.space.largest] * self.with_largest + [at.space.smallest] * self.with_smallest
        if k < len(ends):
            return ends[k]
        return nearest(at, k, (k - len(ends) + _uniform(at, k)) / self.n)[0]


@dataclass(frozen=True)
class ParetoSampler(Sampler):
    """The largest, the smallest, and `n` subnets that won a contest among candidates of about the same MACs.

    The Pareto-aware sampling of AttentiveNAS (Wang et al., 2021, arXiv:2011.09011): train what would be on the
    best Pareto front (lowest loss), or what lags most behind it (highest loss).

    Attributes:
        n: contests a step.
        candidates: subnets in a contest; three in the paper.
        winner: the candidate that is trained: "lowest" is the paper's BestUp, "highest" its WorstUp.
    """

    n: int = 2
    candidates: int = 3
    winner: Literal["lowest", "highest"] = "lowest"

    def __post_init__(self) -> None:
        check_count(self, "n", at_least=0)
        check_count(self, "candidates", at_least=1)
        if self.winner not in ("lowest", "highest"):
            raise TrainingError(f'ParetoSampler: winner has the "lowest" or the "highest" loss; got {self.winner!r}')

    @property
    def subnets_per_step(self) -> int:
        """The two ends, and the winners."""
        return 2 + self.n

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest first: the others may learn from it. A small space may have fewer candidates."""
        if k < 2:
            return (at.space.largest, at.space.smallest)[k]
        return Contest(nearest(at, k, _uniform(at, k), self.candidates), self.winner)


@dataclass(frozen=True)
class ComplexityWalkSampler(Sampler):
    """Subnets of one part of the MACs range, a bank; from step to step it stays or moves on to a neighbour.

    The complexity-aware sampling of ElasticViT (Tang et al., 2023, arXiv:2303.09730): gradients of subnets of
    about the same cost, in a step and the next, agree better. Each bank has a smallest subnet of its own, which
    takes the place of the space's. At each step, all banks are equally likely.

    Attributes:
        n: random subnets of the bank a step.
        banks: equal parts of the range between the smallest subnet's MACs and the largest's.
        with_largest: train the largest in each step, too, and first; without it the largest falls behind.
    """

    n: int = 2
    banks: int = 8
    with_largest: bool = True

    def __post_init__(self) -> None:
        check_count(self, "n", at_least=0)
        check_count(self, "banks", at_least=1, of="parts of the MACs")

    @property
    def subnets_per_step(self) -> int:
        """The bank's smallest, the random ones, and the largest."""
        return self.with_largest + 1 + self.n

    def bank(self, seed: int, step: int) -> int:
        """Index of the walk's bank at `step`; 0 is the bank of the smallest subnets.

        The ends are mirrors: a walk that would leave stays, and from then on left and right are swapped. This is
        a walk without ends, folded; its place at any step is found without taking the steps before.
        """
        start = int(np.random.default_rng((seed, 0, 0, _FOR_WALK)).integers(self.banks))
        place = (start + walked(seed, step)) % (2 * self.banks)
        return min(place, 2 * self.banks - 1 - place)

    def sample(self, at: SamplingContext, k: int) -> Arch | Contest:
        """The largest first: the others may learn from it. Then the bank's smallest, the same in every step."""
        if self.with_largest and k == 0:
            return at.space.largest
        bank = self.bank(at.seed, at.step)
        if k > self.with_largest:
            return nearest(at, k, (bank + _uniform(at, k)) / self.banks)[0]
        if bank == 0:
            return at.space.smallest
        rows, sizes = _pool(at, (at.seed, bank, 0, _FOR_BANK))
        within = np.where(sizes >= bank / self.banks, sizes, np.inf)
        return at.space.decode(rows[[within.argmin()]])[0]


def nearest(at: SamplingContext, k: int, target: float, n: int = 1) -> list[Arch]:
    """The distinct archs of the step's `k`-th pool that are nearest to a target.

    Args:
        at: the space, the seed and the step.
        k: which of the step's pools.
        target: 0 for the smallest subnet's MACs, 1 for the largest's.
        n: how many; fewer where the pool has no more.

    Returns:
        The nearest first.
    """
    rows, sizes = _pool(at, (at.seed, at.step, k, _FOR_POOL))
    found: dict[bytes, int] = {}
    for row in np.argsort(np.abs(sizes - target), kind="stable"):
        found.setdefault(rows[row].tobytes(), int(row))
        if len(found) == n:
            break
    return at.space.decode(rows[list(found.values())])


def walked(seed: int, step: int) -> int:
    """The sum of the first `step` increments of a walk, each of them -1, 0 or 1."""
    block, rest = divmod(step, _BLOCK)
    return sum(_sum_of_block(seed, before) for before in range(block)) + int(_increments(seed, block)[:rest].sum())


@cache
def _sum_of_block(seed: int, block: int) -> int:
    return int(_increments(seed, block).sum())


def _increments(seed: int, block: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, block, 1, _FOR_WALK)).integers(-1, 2, _BLOCK)


def _pool(at: SamplingContext, seed: Sequence[int]) -> tuple[Rows, NDArray[np.float64]]:
    """Random archs and both ends, and where their MACs are between the ends': 0…1."""
    rows = np.concatenate([_corner_rows(at.space), spread_rows(at.space, seed, _POOL)])
    macs = at.macs(rows)
    return rows, (macs - macs[0]) / max(int(macs[1] - macs[0]), 1)


def _uniform(at: SamplingContext, k: int) -> float:
    return float(np.random.default_rng((at.seed, at.step, k)).random())
