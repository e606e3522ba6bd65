"""Sums of small tables, each over the choices of a few dims: quick to look up, and exact search takes them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elastic.space.space import Floats, Rows, SearchSpace

_CHUNK = 4096
"""Rows at a time: what they need stays in the processor's cache."""


class Table(NamedTuple):
    """One addend.

    Attributes:
        columns: the dims that it depends on, as columns of encoded archs; none for a constant.
        values: the addend by their indices, one axis per column.
    """

    columns: tuple[int, ...]
    values: NDArray[Any]


class TableSum:
    """A metric of encoded archs that is a sum of tables.

    Attributes:
        space: whose archs.
        tables: the addends, one for each set of columns; what calling gives is their sum over canonical rows.
        dtype: of the sum.
    """

    def __init__(self, space: SearchSpace, tables: Iterable[Table], dtype: type[np.number[Any]] = np.float64) -> None:
        merged: dict[tuple[int, ...], NDArray[Any]] = {}
        for columns, values in tables:
            merged[columns] = merged[columns] + values if columns in merged else values
        self.space = space
        self.tables = tuple(Table(columns, values) for columns, values in merged.items())
        self.dtype = dtype
        self._flat = [(table.columns, _strides(table.values), table.values.ravel()) for table in self.tables]

    def __call__(self, rows: Rows) -> NDArray[Any]:
        """The sum for each encoded arch: `(n,)` of `dtype`."""
        found: NDArray[Any] = look_up([self], rows)[0]
        return found

    def __add__(self, other: TableSum) -> TableSum:
        """The sum of both."""
        return TableSum(self.space, (*self.tables, *other.tables), self.dtype)

    def __rmul__(self, factor: float) -> TableSum:
        """So many times the sum."""
        return TableSum(self.space, [Table(columns, factor * values) for columns, values in self.tables], self.dtype)

    def add_to(self, total: NDArray[Any], columns: NDArray[np.intp]) -> None:
        """Add the sums of archs, encoded `(dims, n)`, to `total`, in place."""
        for at, strides, values in self._flat:
            if not at:
                total += values[0]
                continue
            index = columns[at[0]] * strides[0]
            for column, stride in zip(at[1:], strides[1:], strict=True):
                index += columns[column] * stride
            total += values.take(index)


def _strides(values: NDArray[Any]) -> list[int]:
    return [math.prod(values.shape[at + 1 :]) for at in range(values.ndim)]


def look_up(sums: Sequence[TableSum], rows: Rows) -> NDArray[Any]:
    """Several sums of encoded archs `(n, dims)`, all of one dtype: `(len(sums), n)`."""
    found = np.zeros((len(sums), len(rows)), sums[0].dtype if sums else np.float64)
    for start in range(0, len(rows), _CHUNK):
        columns = rows[start : start + _CHUNK].T.astype(np.intp)
        for total, one in zip(found, sums, strict=True):
            one.add_to(total[start : start + _CHUNK], columns)
    return found


def tables_of(metric: object) -> Sequence[Table] | None:
    """The addends of a metric that is a sum of tables, as its attribute `tables` has them; None for any other."""
    tables: Sequence[Table] | None = getattr(metric, "tables", None)
    return tables


def choice_sum(space: SearchSpace, values: Sequence[Floats], constant: float = 0.0) -> TableSum:
    """A value for each choice of each dim, summed over the dims that an arch has: linear in one-hot choices.

    Args:
        space: whose archs.
        values: by column, a value for each choice: float64 `(choices,)` each.
        constant: added to every sum.
    """
    tables = [Table((), np.array(constant))]
    for column, own in enumerate(values):
        columns = (column, *gate_columns(space, column))
        rows = grid_rows(space, columns)
        exists = space.existing(rows)[column]
        tables.append(Table(columns, (own[rows[:, column]] * exists).reshape(space.counts[list(columns)])))
    return TableSum(space, tables)


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


def fill_one_hot(space: SearchSpace, rows: Rows, out: Floats) -> None:
    """Each choice of each dim as 0 or 1, all 0 where the dim doesn't exist, into `out`: `(choices of all dims, n)`."""
    exists, columns = space.existing(rows), np.ascontiguousarray(rows.T)
    at = 0
    for count, column, there in zip(space.counts.tolist(), columns, exists, strict=True):
        for choice in range(count):
            np.logical_and(column == choice, there, out=out[at])
            at += 1
