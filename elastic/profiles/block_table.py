"""The latency of a subnet as a sum over its parts, each measured alone and looked up by its signature."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ProfileError
from elastic.prediction.features import Groups
from elastic.space.dims import Gate
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.space.tables import FlatTable, look_up

if TYPE_CHECKING:
    from elastic.space.tables import Table


class TabledPart(Protocol):
    """What a table needs to know of a part of a supernet; `elastic.profiles.blocks.parts` gives them."""

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the dims that its form depends on, in the space's order."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What it stands behind."""

    @property
    def signatures(self) -> tuple[str, ...]:
        """One for each combination of the dims' choices, the last dim's fastest; empty where nothing is to pay."""


class LatencyTable:
    """Latencies of encoded archs: sums of look-ups.

    Args:
        space: whose archs.
        parts: the supernet's parts.
        milliseconds: by signature.
        measured: the part of the space (`SearchSpace.narrow`) whose choices the parts are about; all by default.

    Raises:
        ProfileError: signatures that `milliseconds` lacks.
    """

    def __init__(
        self,
        space: SearchSpace,
        parts: Sequence[TabledPart],
        milliseconds: Mapping[str, float],
        measured: SearchSpace | None = None,
    ) -> None:
        self.space = space
        self.measured = measured or space
        check_complete(_signatures(parts), milliseconds, "the latency table")
        self._columns = {name: at for at, name in enumerate(space.names)}
        self._sums: dict[tuple[int, ...], Floats] = {}
        limits = [self._limit(dim.name) for dim in space.dims if dim != self.measured[dim.name]]
        for columns, table in (*limits, *(self._tabulate(part, milliseconds) for part in parts)):
            self._sums[columns] = self._sums[columns] + table if columns in self._sums else table
        self._flat = [_flat(columns, table) for columns, table in self._sums.items()]

    def __call__(self, rows: Rows) -> Floats:
        """Milliseconds for encoded archs `(n, dims)`: float64 `(n,)`.

        Raises:
            ProfileError: an arch with a choice that wasn't measured.
        """
        rows = self.space.checked(rows)
        found: Floats = look_up([self._flat], rows)[0]
        if np.isinf(found).any():
            raise ProfileError(self._unmeasured(rows[np.isinf(found).argmax()]))
        return found

    def tables(self, space: SearchSpace) -> list[Table]:
        """The addends, for exact search (`elastic.space.tables`); infinite for choices that weren't measured."""
        from elastic.space.tables import Table

        return [Table(columns, table) for columns, table in self._sums.items()]

    def _limit(self, name: str) -> tuple[tuple[int, ...], Floats]:
        """No choice of a dim may be taken that wasn't measured, whether or not a part depends on it."""
        there = [choice in self.measured[name].choices for choice in self.space[name].choices]
        return (self._columns[name],), np.where(there, 0.0, np.inf)

    def _tabulate(self, part: TabledPart, milliseconds: Mapping[str, float]) -> tuple[tuple[int, ...], Floats]:
        """A part's latency over the dims that it depends on and the depths that it stands behind."""
        gates = [gate for gate in part.gates if gate.depth in self._columns]
        names = tuple(sorted({*part.dims, *(gate.depth for gate in gates)}, key=self._columns.__getitem__))
        table = np.full([len(self.space[name].choices) if name in part.dims else 1 for name in names], np.inf)
        places = [
            [self.space[name].choices.index(choice) for choice in self.measured[name].choices]
            if name in part.dims
            else [0]
            for name in names
        ]
        own = np.array([milliseconds[one] if one else 0.0 for one in part.signatures])
        table[np.ix_(*places)] = own.reshape([len(one) for one in places])
        for gate in gates:
            passing = np.array([gate.passes(choice) for choice in self.space[gate.depth].choices])
            shape = [-1 if name == gate.depth else 1 for name in names]
            table = np.where(passing.reshape(shape), table, 0.0)
        whole = np.broadcast_to(table, [len(self.space[name].choices) for name in names])
        return tuple(self._columns[name] for name in names), whole

    def _unmeasured(self, row: NDArray[Any]) -> str:
        for dim, part, at in zip(self.space.dims, self.measured.dims, row, strict=True):
            if dim.choices[at] not in part.choices:
                return (
                    f"{dim.name} = {dim.choices[at]} wasn't measured, only {', '.join(map(str, part.choices))}; narrow "
                    "the search to those, or measure it"
                )
        raise AssertionError("a table lacks a measured choice")


class TableFeatures:
    """What a correction of a table sees of an arch: the table's sum, and the number of parts that run.

    Args:
        table: the sums.
        parts: the supernet's parts, each counted where it has something to pay.
    """

    kinds: tuple[str, ...] = ("corrected",)

    def __init__(self, table: LatencyTable, parts: Sequence[TabledPart]) -> None:
        self.space = table.space
        self.table = table
        self.count = LatencyTable(self.space, parts, dict.fromkeys(_signatures(parts), 1.0), table.measured)
        self.groups = Groups(0, 0, 2)

    def __call__(self, rows: Rows) -> Floats:
        """Milliseconds and parts: float64 `(n, 2)`."""
        return np.stack([self.table(rows), self.count(rows)], axis=1)

    def tables(self, weights: Floats, constant: float) -> list[Table]:
        """The addends of a weighted sum of both and a constant."""
        from elastic.space.tables import Table

        found = [Table((), np.array(constant))]
        for weight, table in zip(weights, (self.table, self.count), strict=True):
            if weight > 0:  # infinite entries stay so
                found += [Table(columns, weight * values) for columns, values in table.tables(self.space)]
        return found


def _flat(columns: tuple[int, ...], table: Floats) -> FlatTable:
    strides = [math.prod(table.shape[at + 1 :]) for at in range(table.ndim)]
    return list(columns), strides, np.ascontiguousarray(table).ravel()


def _signatures(parts: Iterable[TabledPart]) -> list[str]:
    return [one for one in dict.fromkeys(one for part in parts for one in part.signatures) if one]


def check_complete(wanted: Collection[str], found: Collection[str], table: str) -> None:
    """Check that a table has every signature that is wanted.

    Raises:
        ProfileError: it lacks some; the message names the first, and the table as `table` has it.
    """
    lacking = [one for one in wanted if one not in found]
    if lacking:
        raise ProfileError(
            f"{table} lacks {lacking[0]!r} ({len(lacking)} of {len(wanted)} signatures are missing); it is "
            "truncated or another supernet's, measure it again"
        )
