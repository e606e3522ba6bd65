"""Search algorithms: each takes a `Problem`, a population and a number of generations, and evaluates rows."""

from collections.abc import Callable

from elastic.searching.algorithms import dynamic, evolution, random_search
from elastic.searching.algorithms.linas import Linas
from elastic.searching.problem import Problem
from elastic.support.packages import require_packages


def nsga2(problem: Problem, population: int, generations: int) -> None:
    """NSGA-II, see `elastic.searching.algorithms.nsga`, which imports pymoo."""
    require_packages("NSGA-II", "pymoo")
    from elastic.searching.algorithms import nsga

    nsga.nsga2(problem, population, generations)


def nsga3(problem: Problem, population: int, generations: int) -> None:
    """NSGA-III, likewise."""
    require_packages("NSGA-III", "pymoo")
    from elastic.searching.algorithms import nsga

    nsga.nsga3(problem, population, generations)


ALGORITHMS: dict[str, Callable[[Problem, int, int], None]] = {
    "nsga2": nsga2,
    "nsga3": nsga3,
    "evolution": evolution.evolution,
    "random": random_search.random_search,
    "linas": Linas(),
    "dynamic": dynamic.dynamic,
}
"""Name → function of (problem, population, generations)."""
