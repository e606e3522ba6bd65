"""Exact search by dynamic programming, where every objective and every limited cost is a sum of small tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from elastic.errors import BudgetError
from elastic.searching.budget import CostModel
from elastic.searching.elimination import Partials, eliminate
from elastic.searching.fronts import distinct_front
from elastic.searching.problem import Problem
from elastic.space.space import SearchSpace
from elastic.space.tables import Table, gate_columns, grid_rows, tables_of

_LARGEST_TABLE = 1_000_000
_ROUNDING = 1e-9
"""Limits are widened by so much while sums are partial; whole subnets are checked exactly."""


def dynamic(problem: Problem, population: int, generations: int) -> None:
    """Evaluate exactly the whole Pareto front, or with one objective an optimum, however many subnets that is.

    Raises:
        BudgetError: a metric that isn't a sum of small tables, or too much ties the dims together.
    """
    space, limits = problem.space, problem.budget.limits
    if problem.unpredicted:
        raise BudgetError(
            f"exact search can't evaluate subnets: {problem.unpredicted[0]} must be a cost, or predicted (predict=)"
        )
    named = [*((name, -1) for name in problem.maximize), *((name, 1) for name in (*problem.minimize, *limits))]
    metrics = list(dict.fromkeys(named))
    partials = [*_validity(space, len(metrics)), *_covered(problem, len(metrics))]
    for at, (name, sign) in enumerate(metrics):
        partials += [_entries(space, table, sign, at, len(metrics)) for table in additive_tables(problem.costs, name)]
    bounds = [limits[name] * (1 + _ROUNDING) if name in limits and sign > 0 else math.inf for name, sign in metrics]
    rows, sums = eliminate(partials, space.counts, np.array(bounds))
    fits = problem.budget.fits(rows)
    problem.most = None
    problem.evaluate(rows[fits][distinct_front(sums[fits, : len(problem.objectives)])])


def _entries(space: SearchSpace, table: Table, sign: int, metric: int, metrics: int) -> Partials:
    """A table's entries as partial sums of one of the metrics."""
    choices = grid_rows(space, table.columns)[:, list(table.columns)]
    sums = np.zeros((len(choices), metrics))
    sums[:, metric] = sign * table.values.ravel()
    return Partials(table.columns, choices, sums)


def _covered(problem: Problem, metrics: int) -> Iterator[Partials]:
    """Only resolutions that every profile measured."""
    if "resolution" in problem.space.names:
        columns = [problem.space.names.index("resolution")]
        rows = grid_rows(problem.space, columns)
        rows = rows[problem.costs.covers(rows)]
        yield Partials(tuple(columns), rows[:, columns], np.zeros((len(rows), metrics)))


def _validity(space: SearchSpace, metrics: int) -> Iterator[Partials]:
    """A dim that doesn't exist must have its first choice, as in canonical rows; all others are infeasible."""
    yield Partials((), np.zeros((1, 0), np.int16), np.zeros((1, metrics)))
    for column, dim in enumerate(space.dims):
        if not dim.gated:
            continue
        columns = [column, *gate_columns(space, column)]
        entries = math.prod(space.counts[columns].tolist())
        if entries > _LARGEST_TABLE:
            raise BudgetError(f"exact search: whether {dim.name} exists depends on {entries:,} choices; use nsga2")
        rows = grid_rows(space, columns)
        rows = rows[space.existing(rows)[column] | (rows[:, column] == 0)]
        yield Partials(tuple(columns), rows[:, columns], np.zeros((len(rows), metrics)))


def additive_tables(costs: CostModel, name: str) -> Sequence[Table]:
    """The tables whose sum a metric is.

    Raises:
        BudgetError: it is no sum of tables.
    """
    given: Any = costs.predict.get(name)
    if given is None and name in costs.profiles:
        given = costs.profiles[name].predictor(costs.supernet)
    if given is None and name in ("macs", "params"):
        given = getattr(costs.supernet.costs, name)
    tables = tables_of(given)
    if tables is not None:
        return tables
    summed = [one for one in costs.names if one in ("macs", "params") or tables_of(costs.predict.get(one)) is not None]
    cure = f'predict={{"{name}": …}} with an additive predictor, such as fit_predictor(kind="additive")'
    if name in costs.profiles:
        cure = f'predict={{"{name}": profile.predictor(supernet, "additive")}}'
    raise BudgetError(
        f"exact search needs metrics that are sums of small tables; {name} isn't one, {', '.join(summed)} are. Pass "
        f"{cure}, or choose the algorithm nsga2"
    )
