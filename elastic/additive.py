"""Figures that are sums of small tables, each over the choices of a few dims: exact search takes them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from elastic.budget import CostModel
from elastic.costs import TableSum
from elastic.errors import BudgetError
from elastic.features import fill_one_hot
from elastic.space import Floats, Rows, SearchSpace


class Table(NamedTuple):
    """One addend.

    Attributes:
        columns: the dims that it depends on, as columns of encoded archs; none for a constant.
        values: the addend by their indices, one axis per column.
    """

    columns: tuple[int, ...]
    values: NDArray[Any]


@runtime_checkable
class Additive(Protocol):
    """A predictor that is a sum of small tables; it takes part in exact search."""

    def __call__(self, rows: Rows) -> Floats:
        """The sum for each encoded arch: float64 `(n,)`."""
        ...

    def tables(self, space: SearchSpace) -> Sequence[Table]:
        """The addends; their sum over canonical rows is what calling gives."""
        ...


@dataclass(frozen=True)
class ChoiceSum:
    """A value for each choice of each dim, summed over the dims that an arch has: linear in one-hot choices.

    Attributes:
        space: whose archs.
        values: by column, a value for each choice: float64 `(choices,)` each.
        constant: added to every sum.
    """

    space: SearchSpace
    values: tuple[Floats, ...]
    constant: float = 0.0

    def __call__(self, rows: Rows) -> Floats:
        """The sum for each encoded arch: float64 `(n,)`."""
        total = np.full(len(rows), self.constant)
        exists = self.space.existing(rows)
        for column, (dim, values) in enumerate(zip(self.space.dims, self.values, strict=True)):
            addend = values.take(rows[:, column])
            total += addend * exists[column] if dim.gated else addend
        return total

    def tables(self, space: SearchSpace) -> list[Table]:
        """A table per dim, over it and the depths that it stands behind; zero where it doesn't exist."""
        tables = [Table((), np.array(self.constant))]
        for column, values in enumerate(self.values):
            columns = (column, *gate_columns(space, column))
            rows = grid_rows(space, columns)
            exists = space.existing(rows)[column]
            tables.append(Table(columns, (values[rows[:, column]] * exists).reshape(space.counts[list(columns)])))
        return tables


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


def one_hot(space: SearchSpace, rows: Rows) -> Floats:
    """Each choice of each dim as 0 or 1, all 0 where the dim doesn't exist: float64 `(n, choices of all dims)`."""
    columns = np.empty((int(space.counts.sum()), len(rows)))
    fill_one_hot(space, rows, columns)
    return np.ascontiguousarray(columns.T)


def gate_columns(space: SearchSpace, column: int) -> list[int]:
    """The columns of the depths that a dim stands behind."""
    depths = {gate.depth for use in space.dims[column].uses for gate in use}
    return [at for at, dim in enumerate(space.dims) if dim.name in depths and at != column]


def grid_rows(space: SearchSpace, columns: Sequence[int]) -> Rows:
    """Every combination of choices in some columns, the last one running fastest; 0 in the others."""
    counts = [int(space.counts[column]) for column in columns]
    rows = np.zeros((math.prod(counts), len(space.dims)), np.int16)
    rows[:, list(columns)] = np.indices(counts, np.int16).reshape(len(counts), len(rows)).T
    return rows


def additive_tables(costs: CostModel, name: str) -> list[Table]:
    """The tables whose sum a figure is.

    Raises:
        BudgetError: it is no sum of tables.
    """
    space = costs.supernet.space
    given: Any = costs.predict.get(name)
    if given is None and name in costs.profiles:
        given = costs.profiles[name].predictor(costs.supernet)
    if given is None and name in ("macs", "params"):
        given = getattr(costs.supernet.costs, name)
    if isinstance(given, TableSum):
        return list(_unstrided(given, space))
    if isinstance(given, Additive) and callable(given.tables):
        return list(given.tables(space))
    summed = [one for one in costs.names if one in ("macs", "params") or isinstance(costs.predict.get(one), Additive)]
    cure = f'predict={{"{name}": …}} with an additive predictor, such as elastic.additive.fit_choices makes'
    if name in costs.profiles:
        cure = f'predict={{"{name}": profile.predictor(supernet, "additive")}}'
    raise BudgetError(
        f"exact search needs figures that are sums of small tables; {name} isn't one, {', '.join(summed)} are. Pass "
        f"{cure}, or choose the algorithm nsga2"
    )


def _unstrided(total: TableSum, space: SearchSpace) -> Iterable[Table]:
    for columns, _, table in total.tables:  # columns ascend, and the last one runs fastest
        yield Table(tuple(columns), table.reshape(space.counts[columns] if columns else ()))
