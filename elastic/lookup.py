"""Sums of look-ups in small tables over few dims each: how figures of a million encoded archs are had at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.space import Rows

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
