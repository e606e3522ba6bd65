"""Random search: what every other algorithm must beat."""

from __future__ import annotations

import numpy as np

from elastic.searching.problem import Problem
from elastic.space.sampling import spread_rows

_ROUNDS = 8


def random_search(problem: Problem, population: int, generations: int) -> None:
    """Evaluate `generations` × `population` random rows that fit, from small to large; draws are bounded."""
    wanted = population * generations
    pool = problem.new(problem.start)
    for attempt in range(_ROUNDS):
        if len(pool) >= wanted:
            break
        drawn = spread_rows(problem.space, (*problem.seed, attempt), 2 * (wanted - len(pool)) << attempt)
        pool = problem.new(np.concatenate([pool, drawn]))
    for start in range(0, min(wanted, len(pool)), population):
        problem.evaluate(pool[start : min(start + population, wanted)])
