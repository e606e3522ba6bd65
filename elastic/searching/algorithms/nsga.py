"""NSGA-II and NSGA-III, whose survival is pymoo's (Blank and Deb 2020, https://doi.org/10.1109/ACCESS.2020.2990567).

An individual is a row: a vector of integers, the choices' indices. Children are canonical, none is asked for twice,
and one that exceeds the budget is infeasible by its excess.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.problem import Problem as Variables
from pymoo.core.termination import NoTermination
from pymoo.util.ref_dirs import get_reference_directions

from elastic.searching.algorithms.breeding import first_rows
from elastic.searching.problem import Problem, new_indices, row_keys
from elastic.space.space import Rows, SearchSpace

_PATIENCE = 20
"""So many generations without a new row that fits end the search."""
_ROUNDS = 8
_CROSSOVER = 0.25
_REDRAWN = 1.5
"""Children with two parents, and dims of a child that are redrawn, on average: tried out in tests/benchmarks."""


def nsga2(problem: Problem, population: int, generations: int) -> None:
    """NSGA-II (Deb et al. 2002, https://doi.org/10.1109/4235.996017)."""
    _run(NSGA2, problem, population)


def nsga3(problem: Problem, population: int, generations: int) -> None:
    """NSGA-III (Deb and Jain 2014, https://doi.org/10.1109/TEVC.2013.2281535): for three objectives and more.

    Its reference directions are Das and Dennis's, as many as the population has place for.
    """
    _run(NSGA3, problem, population, ref_dirs=reference_directions(len(problem.objectives), population))


def _run(algorithm: Any, problem: Problem, population: int, **options: Any) -> None:
    """Ask and tell until no more may be evaluated, or nothing new comes up."""
    first = first_rows(problem, population)
    mating = _Mating(problem.space, first)
    algorithm = algorithm(
        pop_size=population, sampling=first.astype(int), mating=mating, eliminate_duplicates=False, **options
    )
    dims = len(problem.space.dims)
    variables = Variables(dims, len(problem.objectives), n_ieq_constr=1, xl=0, xu=problem.space.counts - 1, vtype=int)
    algorithm.setup(variables, termination=NoTermination(), seed=problem.seed)
    without = 0
    while not problem.done and without < _PATIENCE:
        asked = algorithm.ask()
        if asked is None or not len(asked):
            break
        before = problem.evaluations
        _answer(asked, problem)
        without = 0 if problem.evaluations > before else without + 1
        if not problem.done:
            algorithm.tell(infills=asked)


def _answer(asked: Any, problem: Problem) -> None:
    """Give each row its goals and its excess.

    Rows that don't fit are never evaluated; they, and those that have no finite goals, count by their excess alone.
    """
    rows = _rows(asked)
    excess = problem.budget.excess(rows)
    fits = np.flatnonzero(excess == 0)
    found = problem.evaluate(rows[fits])
    goals = np.zeros((len(rows), len(problem.objectives)))
    goals[fits[: len(found)]] = found
    unusable = np.flatnonzero(~np.isfinite(goals).all(axis=1))
    goals[unusable], excess[unusable] = 0.0, 1.0
    asked.set("F", goals, "G", excess[:, None])
    for individual in asked:
        individual.evaluated.update("FG")


class _Mating(InfillCriterion):  # type: ignore[misc]
    """Binary tournaments, uniform crossover, and a dim or two of each child redrawn."""

    def __init__(self, space: SearchSpace, first: Rows) -> None:
        super().__init__()
        self.space = space
        self.asked = set(row_keys(first))

    def do(self, problem: Any, pop: Any, n_offsprings: int, random_state: Any = None, **kwargs: Any) -> Any:
        """Up to `n_offsprings` children, each asked for the first time; a bounded number of rounds."""
        rows, places = _rows(pop), _places(pop)
        children = rows[:0]
        for _ in range(_ROUNDS):
            if len(children) >= n_offsprings:
                break
            rivals = random_state.integers(0, len(rows), (2, n_offsprings, 2))
            winners = np.take_along_axis(rivals, places[rivals].argmin(axis=2)[..., None], axis=2)[..., 0]
            made = self._children(rows[winners[0]], rows[winners[1]], random_state)
            children = np.concatenate([children, made])
            children = children[new_indices(row_keys(children), self.asked)]
        children = children[:n_offsprings]
        self.asked.update(row_keys(children))
        return Population.new("X", children.astype(int)) if len(children) else Population.create()

    def _children(self, mothers: Rows, fathers: Rows, random_state: Any) -> Rows:
        fathers = np.where(random_state.random((len(mothers), 1)) < _CROSSOVER, fathers, mothers)
        crossing, mutation = random_state.integers(2**63, size=2).tolist()
        children = self.space.crossover_rows(mothers, fathers, crossing)
        return self.space.mutate_rows(children, _REDRAWN / max(1, len(self.space.dims)), mutation)


def _rows(pop: Any) -> Rows:
    return np.array([individual.X for individual in pop], np.int16)


def _places(pop: Any) -> NDArray[np.intp]:
    """The order of individuals: feasible first, then the better rank, then the less crowded (NSGA-II's)."""
    excess, rank = (np.array([one.get(key) for one in pop], float).ravel() for key in ("CV", "rank"))
    crowding = np.array([one.get("crowding") or 0.0 for one in pop], float)  # NSGA-III has none
    places = np.empty(len(pop), int)
    places[np.lexsort([-crowding, rank, excess])] = np.arange(len(pop))
    return places


def reference_directions(objectives: int, population: int) -> NDArray[np.float64]:
    """Das and Dennis's directions in the finest partition that has at most `population` of them."""
    if objectives == 1:
        return np.ones((1, 1))
    partitions, count = 1, objectives
    while count <= population:
        partitions += 1
        count = count * (partitions + objectives - 1) // partitions
    directions: NDArray[np.float64] = get_reference_directions(
        "das-dennis", objectives, n_partitions=max(1, partitions - 1)
    )
    return directions
