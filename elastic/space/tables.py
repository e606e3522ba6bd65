"""Figures that are sums of small tables, each over the choices of a few dims: exact search takes them apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from elastic.space.space import Floats, Rows, SearchSpace


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


def fill_one_hot(space: SearchSpace, rows: Rows, out: Floats) -> None:
    """Each choice of each dim as 0 or 1, all 0 where the dim doesn't exist, into `out`: `(choices of all dims, n)`."""
    exists, columns = space.existing(rows), np.ascontiguousarray(rows.T)
    at = 0
    for count, column, there in zip(space.counts.tolist(), columns, exists, strict=True):
        for choice in range(count):
            np.logical_and(column == choice, there, out=out[at])
            at += 1


FlatTable = tuple[list[int], list[int], NDArray[Any]]
"""The columns that it is over, each one's stride, and the figures, flat."""


_CHUNK = 4096
"""Rows at a time: what they need stays in the processor's cache."""


def look_up(sums: Sequence[Sequence[FlatTable]], rows: Rows, dtype: type[np.number[Any]] = np.float64) -> NDArray[Any]:
    """Several sums for encoded archs `(n, dims)`: `(len(sums), n)` of `dtype`, which is that of the tables."""
    found = np.zeros((len(sums), len(rows)), dtype)
    for start in range(0, len(rows), _CHUNK):
        columns = rows[start : start + _CHUNK].T.astype(np.intp)
        for total, tables in zip(found, sums, strict=True):
            for at, strides, table in tables:
                total[start : start + _CHUNK] += table.take(_index(columns, at, strides)) if at else table[0]
    return found


def _index(columns: NDArray[np.intp], at: list[int], strides: list[int]) -> NDArray[np.intp]:
    index: NDArray[np.intp] = columns[at[0]] * strides[0]
    for column, stride in zip(at[1:], strides[1:], strict=True):
        index += columns[column] * stride
    return index


_ROWS = 16384


def by_chunks(cost: Callable[[Rows], NDArray[np.int64]], rows: Rows) -> NDArray[np.int64]:
    """`cost(rows)`, int64 `(n,)`, computed chunk by chunk."""
    total = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), _ROWS):
        total[start : start + _ROWS] = cost(rows[start : start + _ROWS])
    return total
