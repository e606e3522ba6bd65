"""Search algorithms: each takes a `Problem`, a population and a number of generations, and evaluates rows."""

from collections.abc import Callable

from elastic.searching.algorithms import dynamic, evolution, linas, nsga, random_search
from elastic.searching.problem import Problem

ALGORITHMS: dict[str, Callable[[Problem, int, int], None]] = {
    "nsga2": nsga.nsga2,
    "nsga3": nsga.nsga3,
    "evolution": evolution.evolution,
    "random": random_search.random_search,
    "linas": linas.linas,
    "dynamic": dynamic.dynamic,
}
"""Name → function of (problem, population, generations)."""
