"""Once-for-All's constrained evolution (Cai et al., ICLR 2020, https://arxiv.org/abs/1908.09791), vectorised.

Each generation keeps a quarter of a population as parents; half of the children are mutations, half crossovers,
and all fit the budget. The paper's has one objective; with several, half of the parents are the best in the first
and half are spread along the front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elastic.searching.algorithms.breeding import children, first_rows
from elastic.searching.fronts import spread_along, undominated
from elastic.searching.problem import Problem
from elastic.space.space import Floats

_PARENTS = 0.25


def evolution(problem: Problem, population: int, generations: int) -> None:
    """Evaluate `generations` × `population` rows, or as many as the budget leaves."""
    wanted = max(2, round(_PARENTS * population))
    rows = first_rows(problem, population)
    goals = problem.evaluate(rows)
    for generation in range(1, generations):
        best, front = _best(goals, wanted)
        parents = np.concatenate([rows[best], rows[front[spread_along(goals[front], wanted - len(best))]]])
        new = children(problem, parents, population, (*problem.seed, generation))
        if not len(new):
            break
        kept = np.union1d(best, front)  # what later parents may come from
        rows = np.concatenate([rows[kept], new])
        goals = np.concatenate([goals[kept], problem.evaluate(new)])


def _best(goals: Floats, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Half of the wanted parents, the best in the first objective; and the whole front."""
    best = np.lexsort(goals.T[::-1])
    if goals.shape[1] == 1:
        return best[:wanted], best[:0]
    return best[: wanted // 2], np.flatnonzero(undominated(goals))
