"""Search algorithms: each takes a `Problem`, a population and a number of generations, and evaluates rows."""

from collections.abc import Callable

from elastic.errors import BudgetError
from elastic.searching.algorithms import dynamic, evolution, random_search
from elastic.searching.algorithms.linas import Linas
from elastic.searching.problem import Problem
from elastic.support.packages import require_packages
from elastic.support.text import did_you_mean


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


def check_algorithm(name: str | None) -> None:
    """Check that there is an algorithm of this name; None: it is chosen by what is asked for.

    Raises:
        BudgetError: there is none.
    """
    if name is not None and name not in ALGORITHMS:
        cure = did_you_mean(name, list(ALGORITHMS), f"choose one of {', '.join(ALGORITHMS)}")
        raise BudgetError(f"no algorithm is called {name!r}; {cure}")
