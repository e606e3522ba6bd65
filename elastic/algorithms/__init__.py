"""How to search: each algorithm takes a `Problem`, a population and a number of generations, and evaluates rows."""

from collections.abc import Callable

from elastic.algorithms.dynamic import dynamic
from elastic.algorithms.evolution import evolution
from elastic.algorithms.linas import linas
from elastic.algorithms.nsga import nsga2, nsga3
from elastic.algorithms.random_search import random_search
from elastic.problem import Problem

ALGORITHMS: dict[str, Callable[[Problem, int, int], None]] = {
    "nsga2": nsga2,
    "nsga3": nsga3,
    "evolution": evolution,
    "random": random_search,
    "linas": linas,
    "dynamic": dynamic,
}
"""Name → function of (problem, population, generations)."""
