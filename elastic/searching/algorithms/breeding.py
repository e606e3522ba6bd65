"""New rows for an algorithm to evaluate: a first population, and the children of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elastic.searching.budget import neighbour_rows
from elastic.searching.problem import Problem
from elastic.space.sampling import corner_rows, spread_rows
from elastic.space.space import Rows, SearchSpace

_SAMPLE = 4096
_ROUNDS = 8
_MUTATION = 0.1


def first_rows(problem: Problem, n: int) -> Rows:
    """`n` random rows that fit, from small to large, the corners first where they fit; fewer where there are fewer."""
    sample = spread_rows(problem.space, problem.seed, max(_SAMPLE, 4 * n))
    pool = problem.new(np.concatenate([corner_rows(problem.space), problem.start, sample]))
    return pool[:n] if len(pool) >= n else children(problem, problem.start, n, problem.seed, pool)


def children(problem: Problem, parents: Rows, n: int, seed: Sequence[int], pool: Rows | None = None) -> Rows:
    """`n` new rows that fit: `pool`, then mutations and crossovers of `parents`; fewer where there are fewer.

    As many as are missing are proposed, twice over, and twice as many each round; rounds are bounded, so that no
    budget waits for luck.
    """
    pool = parents[:0] if pool is None else pool
    for attempt in range(_ROUNDS):
        if len(pool) >= n:
            break
        proposed = _propose(problem.space, parents, 2 * (n - len(pool)) << attempt, [*seed, attempt])
        pool = problem.new(np.concatenate([pool, proposed]))
    return (pool if len(pool) >= n else _with_neighbours(problem, pool, parents, n))[:n]


def _propose(space: SearchSpace, parents: Rows, n: int, seed: Sequence[int]) -> Rows:
    """Half mutations, half crossovers, in turns; later attempts mutate more."""
    rng = np.random.default_rng(seed)
    mothers, fathers = parents[rng.integers(0, len(parents), (2, n))]
    rate = max(_MUTATION, 1 / max(1, len(space.dims))) * (1 + seed[-1])
    mutated = space.mutate_rows(mothers[::2], min(rate, 0.5), [*seed, 1])
    crossed = space.crossover_rows(mothers[1::2], fathers[1::2], [*seed, 2])
    proposed: Rows = np.empty_like(mothers)
    proposed[::2], proposed[1::2] = mutated, crossed
    return proposed


def _with_neighbours(problem: Problem, pool: Rows, parents: Rows, n: int) -> Rows:
    """Small space or tight budget: add neighbours of known rows until there are enough."""
    counts = problem.space.counts.tolist()
    for row in np.concatenate([parents, problem.rows]):
        if len(pool) >= n:
            break
        around = problem.space.canonical(neighbour_rows(row[None], counts))
        pool = problem.new(np.concatenate([pool, around]))
    return pool
