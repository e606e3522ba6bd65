"""The latency of a subnet as a sum over its blocks, each measured alone and looked up by its signature."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ProfileError
from elastic.prediction.features import Groups
from elastic.space.dims import Gate
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.space.tables import Table, TableSum


class TabledBlock(Protocol):
    """A supernet's block, as far as a table needs it; `elastic.profiles.blocks.find_blocks` returns such blocks."""

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the dims that its variant depends on, in the space's order."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Gates in front of it; the block runs if all are open."""

    @property
    def signatures(self) -> tuple[str, ...]:
        """One for each combination of the dims' choices, the last dim varying fastest; empty where it costs nothing."""


class LatencyTable(TableSum):
    """Latencies of encoded archs as a sum of tables; infinite for choices that weren't measured.

    Args:
        space: whose archs.
        blocks: the supernet's blocks.
        milliseconds: by signature.
        measured: the part of the space (`SearchSpace.narrow`) whose choices the blocks are about; all by default.

    Raises:
        ProfileError: signatures that `milliseconds` lacks.
    """

    def __init__(
        self,
        space: SearchSpace,
        blocks: Sequence[TabledBlock],
        milliseconds: Mapping[str, float],
        measured: SearchSpace | None = None,
    ) -> None:
        self.measured = measured or space
        check_complete(_signatures(blocks), milliseconds, "the latency table")
        limits = [_limit(space, self.measured, dim.name) for dim in space.dims if dim != self.measured[dim.name]]
        super().__init__(space, [*limits, *(_tabulate(space, self.measured, block, milliseconds) for block in blocks)])

    def __call__(self, rows: Rows) -> Floats:
        """Milliseconds for encoded archs `(n, dims)`: float64 `(n,)`.

        Raises:
            ProfileError: an arch with a choice that wasn't measured.
        """
        rows = self.space.checked(rows)
        found = super().__call__(rows)
        if np.isinf(found).any():
            raise ProfileError(self._unmeasured(rows[np.isinf(found).argmax()]))
        return found

    def _unmeasured(self, row: NDArray[Any]) -> str:
        for dim, part, at in zip(self.space.dims, self.measured.dims, row, strict=True):
            if dim.choices[at] not in part.choices:
                return (
                    f"{dim.name} = {dim.choices[at]} wasn't measured, only {', '.join(map(str, part.choices))}; narrow "
                    "the search to those, or measure it"
                )
        raise AssertionError("a table lacks a measured choice")


def _limit(space: SearchSpace, measured: SearchSpace, name: str) -> Table:
    """A table that makes choices of a dim that weren't measured infinite, whether or not a block depends on it."""
    there = [choice in measured[name].choices for choice in space[name].choices]
    return Table((space.names.index(name),), np.where(there, 0.0, np.inf))


def _tabulate(
    space: SearchSpace, measured: SearchSpace, block: TabledBlock, milliseconds: Mapping[str, float]
) -> Table:
    """A block's latency over the dims that it depends on and the depths of its gates."""
    gates = [gate for gate in block.gates if gate.depth in space.names]
    columns = tuple(sorted(map(space.names.index, {*block.dims, *(gate.depth for gate in gates)})))
    dims = [space.dims[column] for column in columns]
    table = np.full([len(dim.choices) if dim.name in block.dims else 1 for dim in dims], np.inf)
    places = [
        [dim.choices.index(choice) for choice in measured[dim.name].choices] if dim.name in block.dims else [0]
        for dim in dims
    ]
    own = np.array([milliseconds[one] if one else 0.0 for one in block.signatures])
    table[np.ix_(*places)] = own.reshape([len(one) for one in places])
    for gate in gates:
        passing = gate.passes(np.array(space[gate.depth].choices))
        table = np.where(passing.reshape([-1 if dim.name == gate.depth else 1 for dim in dims]), table, 0.0)
    return Table(columns, np.broadcast_to(table, [len(dim.choices) for dim in dims]))


class TableFeatures:
    """Features for correcting a table: the table's sum, and the number of blocks that run.

    Args:
        table: the sums.
        blocks: the supernet's blocks; those that cost nothing aren't counted.
    """

    kinds: tuple[str, ...] = ("corrected",)

    def __init__(self, table: LatencyTable, blocks: Sequence[TabledBlock]) -> None:
        self.space = table.space
        self.table = table
        self.count = LatencyTable(self.space, blocks, dict.fromkeys(_signatures(blocks), 1.0), table.measured)
        self.groups = Groups(0, 0, 2)

    def __call__(self, rows: Rows) -> Floats:
        """Milliseconds and blocks: float64 `(n, 2)`."""
        return np.stack([self.table(rows), self.count(rows)], axis=1)

    def weighted(self, weights: Floats, constant: float) -> TableSum:
        """A weighted sum of both and a constant."""
        total = TableSum(self.space, [Table((), np.array(constant))])
        for weight, table in zip(weights.tolist(), (self.table, self.count), strict=True):
            if weight > 0:  # 0 × infinite isn't a number
                total += weight * table
        return total


def _signatures(blocks: Iterable[TabledBlock]) -> list[str]:
    return [one for one in dict.fromkeys(one for block in blocks for one in block.signatures) if one]


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
