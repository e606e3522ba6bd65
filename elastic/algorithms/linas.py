"""LINAS (Cummings et al. 2022, https://arxiv.org/abs/2205.10358): search on a predictor, measure the best, repeat.

Where a subnet takes seconds to measure, thousands are asked of a predictor that is fitted to all measured so far,
and only the most promising are measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elastic.algorithms.breeding import children, first_rows
from elastic.algorithms.nsga import nsga2
from elastic.budget import Predict
from elastic.fronts import Floats, spread_along, undominated
from elastic.problem import Problem
from elastic.space import Rows, SearchSpace

_INNER_POPULATION = 100
_INNER_GENERATIONS = 30
_FEWEST = 3
"""Fewer measured subnets than this say nothing about the others."""


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
    predicted = problem.predicted_by(predict, seed, _INNER_POPULATION * _INNER_GENERATIONS)
    nsga2(predicted, _INNER_POPULATION, _INNER_GENERATIONS)
    rows, goals = predicted.rows, predicted.goals
    known = {row.tobytes() for row in problem.rows}
    fresh = [at for at, row in enumerate(rows) if row.tobytes() not in known]
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
        name: fit_ridge(problem.space, problem.rows, np.array([one[name] for one in problem.measured]))
        for name in measured
    }


def fit_ridge(space: SearchSpace, rows: Rows, targets: Floats) -> Callable[[Rows], Floats]:
    """A ridge regression on the choices, one-hot; how much it is penalised is chosen by leave-one-out.

    Targets that aren't finite are left out.
    """
    from sklearn.linear_model import RidgeCV

    finite = np.isfinite(targets)
    if finite.sum() < _FEWEST:
        return lambda rows: np.zeros(len(rows))
    ridge = RidgeCV(np.logspace(-3, 4, 15))
    ridge.fit(one_hot(space, rows[finite]), targets[finite])
    return lambda rows: np.asarray(ridge.predict(one_hot(space, rows)), np.float64)


def one_hot(space: SearchSpace, rows: Rows) -> Floats:
    """Each choice of each dim as 0 or 1, all 0 where the dim doesn't exist: float64 `(n, choices of all dims)`."""
    exists = space.existing(rows)
    columns = [
        exists[column][:, None] & (rows[:, column, None] == np.arange(count))
        for column, count in enumerate(space.counts)
    ]
    return np.concatenate(columns, axis=1, dtype=np.float64)
