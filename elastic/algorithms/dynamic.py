"""Exact search by dynamic programming, where every objective and every limited cost is a sum of small tables."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from elastic.additive import Table, additive_tables, gate_columns, grid_rows
from elastic.elimination import Partials, eliminate
from elastic.errors import BudgetError
from elastic.fronts import distinct_front
from elastic.problem import Problem
from elastic.space import SearchSpace

_LARGEST_TABLE = 1_000_000
_ROUNDING = 1e-9
"""Limits are widened by so much while sums are partial; whole subnets are checked exactly."""


def dynamic(problem: Problem, population: int, generations: int) -> None:
    """Evaluate the whole Pareto front, or with one objective an optimum; nothing else, and however many that is.

    Raises:
        BudgetError: a figure that isn't a sum of small tables, or too much ties the dims together.
    """
    space, limits = problem.space, problem.budget.limits
    if problem.unpredicted:
        raise BudgetError(
            f"exact search can't evaluate subnets: {problem.unpredicted[0]} must be a cost, or predicted (predict=)"
        )
    named = [*((name, -1) for name in problem.maximize), *((name, 1) for name in (*problem.minimize, *limits))]
    figures = list(dict.fromkeys(named))
    partials = [*_validity(space, len(figures)), *_covered(problem, len(figures))]
    for at, (name, sign) in enumerate(figures):
        partials += [_entries(space, table, sign, at, len(figures)) for table in additive_tables(problem.costs, name)]
    bounds = [limits[name] * (1 + _ROUNDING) if name in limits and sign > 0 else math.inf for name, sign in figures]
    rows, sums = eliminate(partials, space.counts, np.array(bounds))
    fits = problem.budget.fits(rows)
    problem.most = None
    problem.evaluate(rows[fits][distinct_front(sums[fits, : len(problem.objectives)])])


def _entries(space: SearchSpace, table: Table, sign: int, figure: int, figures: int) -> Partials:
    """A table's entries as partial sums of one of the figures."""
    choices = grid_rows(space, table.columns)[:, list(table.columns)]
    sums = np.zeros((len(choices), figures))
    sums[:, figure] = sign * table.values.ravel()
    return Partials(table.columns, choices, sums)


def _covered(problem: Problem, figures: int) -> Iterator[Partials]:
    """Only resolutions that every profile measured."""
    if "resolution" in problem.space.names:
        columns = [problem.space.names.index("resolution")]
        rows = grid_rows(problem.space, columns)
        rows = rows[problem.costs.covers(rows)]
        yield Partials(tuple(columns), rows[:, columns], np.zeros((len(rows), figures)))


def _validity(space: SearchSpace, figures: int) -> Iterator[Partials]:
    """Of a dim that doesn't exist only the first choice counts, as in canonical rows: all else is forbidden."""
    yield Partials((), np.zeros((1, 0), np.int16), np.zeros((1, figures)))
    for column, dim in enumerate(space.dims):
        if not dim.gated:
            continue
        columns = [column, *gate_columns(space, column)]
        entries = math.prod(space.counts[columns].tolist())
        if entries > _LARGEST_TABLE:
            raise BudgetError(f"exact search: whether {dim.name} exists depends on {entries:,} choices; use nsga2")
        rows = grid_rows(space, columns)
        rows = rows[space.existing(rows)[column] | (rows[:, column] == 0)]
        yield Partials(tuple(columns), rows[:, columns], np.zeros((len(rows), figures)))
