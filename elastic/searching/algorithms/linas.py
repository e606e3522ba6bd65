"""LINAS (Cummings et al. 2022, https://arxiv.org/abs/2205.10358): search on a predictor, measure the best, repeat.

Where a subnet takes seconds to measure, thousands are asked of a predictor that is fitted to all measured so far,
and only the most promising are measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elastic.prediction.features import ArchFeatures
from elastic.prediction.regression import Samples, fit_additive
from elastic.searching.algorithms.breeding import children, first_rows
from elastic.searching.budget import Predict
from elastic.searching.fronts import spread_along, undominated
from elastic.searching.problem import Problem, new_indices, row_keys
from elastic.space.space import Floats, Rows
from elastic.support.packages import require_packages


@dataclass(frozen=True)
class Linas:
    """The algorithm; in each generation NSGA-II searches on a predictor.

    Attributes:
        population: of a search on the predictor.
        generations: of a search on the predictor.
    """

    population: int = 100
    generations: int = 30

    def __call__(self, problem: Problem, population: int, generations: int) -> None:
        """Measure `population` rows, then in each further generation those that NSGA-II finds on a predictor."""
        require_packages("LINAS", "pymoo", "sklearn")
        problem.evaluate(first_rows(problem, population))
        for generation in range(1, generations):
            seed = (*problem.seed, generation)
            promising = self._promising(problem, population, seed)
            new = children(problem, problem.rows[undominated(problem.goals)], population, seed, promising)
            if not len(new):
                break
            problem.evaluate(new)

    def _promising(self, problem: Problem, n: int, seed: tuple[int, ...]) -> Rows:
        """Up to `n` new rows of the first predicted fronts."""
        from elastic.searching.algorithms.nsga import nsga2

        predicted = problem.predicted_by(fit_goals(problem), seed, self.population * self.generations)
        nsga2(predicted, self.population, self.generations)
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
    return {name: _fitted(problem, np.array([one[name] for one in problem.measured])) for name in measured}


def _fitted(problem: Problem, targets: Floats) -> Predict:
    """An additive regression on the targets `(n,)`; those that aren't finite are left out."""
    finite = np.isfinite(targets)
    if finite.sum() < _FEWEST:
        return lambda rows: np.zeros(len(rows))
    features = ArchFeatures(problem.space)
    samples = Samples(features(problem.rows[finite]), targets[finite], features.groups, relative=False)
    model = fit_additive(samples)
    return lambda rows: model(features(rows))


_FEWEST = 3
"""Fewer measured subnets than this say nothing about the others."""
