"""LINAS (Cummings et al. 2022, https://arxiv.org/abs/2205.10358): search on a predictor, measure the best, repeat.

Where a subnet takes seconds to measure, thousands are asked of a predictor that is fitted to all measured so far,
and only the most promising are measured.
"""

from __future__ import annotations

import numpy as np

from elastic.searching.algorithms.breeding import children, first_rows
from elastic.searching.algorithms.nsga import nsga2
from elastic.searching.budget import Predict
from elastic.searching.fronts import spread_along, undominated
from elastic.searching.problem import Problem, new_indices, row_keys
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.space.tables import ChoiceSum, one_hot

INNER_POPULATION = 100
INNER_GENERATIONS = 30
"""Size of NSGA-II's search on the predictor, once for each generation that is measured."""


def linas(problem: Problem, population: int, generations: int) -> None:
    """Measure `population` rows, then in each further generation those that NSGA-II finds on a predictor."""
    problem.evaluate(first_rows(problem, population))
    for generation in range(1, generations):
        seed = (*problem.seed, generation)
        promising = _promising(problem, population, seed)
        new = children(problem, problem.rows[undominated(problem.goals)], population, seed, promising)
        if not len(new):
            break
        problem.evaluate(new)


def _promising(problem: Problem, n: int, seed: tuple[int, ...]) -> Rows:
    """Up to `n` new rows of the first predicted fronts."""
    predict = fit_goals(problem)
    predicted = problem.predicted_by(predict, seed, INNER_POPULATION * INNER_GENERATIONS)
    nsga2(predicted, INNER_POPULATION, INNER_GENERATIONS)
    rows, goals = predicted.rows, predicted.goals
    fresh = new_indices(row_keys(rows), set(row_keys(problem.rows)))
    return rows[fresh][best_fronts(goals[fresh], n)]


def best_fronts(goals: Floats, n: int) -> list[int]:
    """Indices of `n` rows: the first front, the next, …, of the last one some along its length."""
    chosen: list[int] = []
    left = np.arange(len(goals))
    while len(left) and len(chosen) < n:
        front = undominated(goals[left])
        members = left[front]
        chosen += members[spread_along(goals[members], n - len(chosen))].tolist()
        left = left[~front]
    return chosen


def fit_goals(problem: Problem) -> dict[str, Predict]:
    """A predictor of each objective that was measured, fitted to all measured."""
    measured = [name for name in problem.objectives if problem.measured and name in problem.measured[0]]
    return {
        name: fit_choices(problem.space, problem.rows, np.array([one[name] for one in problem.measured]))
        for name in measured
    }


def fit_choices(space: SearchSpace, rows: Rows, targets: Floats) -> ChoiceSum:
    """A ridge regression on one-hot choices; how much it is penalised is chosen by leave-one-out.

    Args:
        space: whose archs.
        rows: encoded archs `(n, dims)`.
        targets: what was measured of each, float64 `(n,)`; those that aren't finite are left out.
    """
    from sklearn.linear_model import RidgeCV

    finite = np.isfinite(targets)
    if finite.sum() < _FEWEST:
        return ChoiceSum(space, tuple(np.zeros(count) for count in space.counts))
    ridge = RidgeCV(np.logspace(-3, 4, 15))
    ridge.fit(one_hot(space, rows[finite]), targets[finite])
    values = np.split(np.asarray(ridge.coef_, np.float64), np.cumsum(space.counts)[:-1])
    return ChoiceSum(space, tuple(values), float(ridge.intercept_))


_FEWEST = 3
"""Fewer measured subnets than this say nothing about the others."""
