"""Exact optima of sums of small tables: bucket elimination (Dechter 1999) with Pareto sets of partial sums.

Dims are eliminated one after the other. All tables that depend on a dim are joined; then, for each choice of the
dims that remain open, only the partial sums that no other dominates are kept: whatever is added to them later, the
others can't win. The cheapest dim to eliminate goes first; dims that many tables share stay open until the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from elastic.errors import BudgetError
from elastic.searching.fronts import distinct_front
from elastic.space.space import Floats, Rows

Indices = NDArray[np.intp]

MOST_SUMS = 30_000_000
"""Upper limit on the partial sums that one join may produce, all of which are in memory at once."""


@dataclass(frozen=True)
class Partials:
    """Partial sums, several for each choice of the columns that are open.

    Attributes:
        columns: the open columns.
        choices: indices of their choices, int16 `(n, columns)`.
        sums: float64 `(n, metrics)`.
        made_from: the operands of the join and the indices used of each; empty for an original table.
    """

    columns: tuple[int, ...]
    choices: Rows
    sums: Floats
    made_from: tuple[tuple[Partials, Indices], ...] = ()

    def __len__(self) -> int:
        return len(self.sums)

    def kept(self, at: Indices) -> Partials:
        """The partial sums at these indices."""
        parts = tuple((part, index[at]) for part, index in self.made_from) or ((self, at),)
        return Partials(self.columns, self.choices[at], self.sums[at], parts)

    def rows(self, at: Indices, dims: int) -> Rows:
        """Encoded archs `(n, dims)` behind the sums at `at`, eliminated dims included; 0 for a dim of no table."""
        if self.made_from:
            joined: Rows = np.maximum.reduce([part.rows(index[at], dims) for part, index in self.made_from])
            return joined
        rows = np.zeros((len(at), dims), np.int16)
        rows[:, list(self.columns)] = self.choices[at]
        return rows

    def keys(self, columns: Sequence[int], counts: Indices) -> Indices:
        """One integer key for each entry, `(n,)`; entries that agree in `columns` have equal keys."""
        key = np.zeros(len(self), np.intp)
        for column in columns:
            key = key * counts[column] + self.choices[:, self.columns.index(column)]
        return key


def eliminate(partials: Sequence[Partials], counts: Indices, limits: Floats) -> tuple[Rows, Floats]:
    """The archs with non-dominated sums: encoded rows `(n, dims)` and their sums `(n, metrics)`.

    Args:
        partials: one per table; combinations absent from it are infeasible.
        counts: choices per column.
        limits: upper limit on the sum of each metric, inf where there is none.

    Raises:
        BudgetError: too many partial sums would have to be held.
    """
    left = list(partials)
    while columns := {column for part in left for column in part.columns}:
        column = min(sorted(columns), key=lambda one: _size([p for p in left if one in p.columns], counts))
        joined = [part for part in left if column in part.columns]
        left = [part for part in left if column not in part.columns]
        left.append(_closed(_join_all(joined, counts, limits - _least(left)), column, counts))
    last = _join_all(left, counts, limits)
    return last.rows(np.arange(len(last)), len(counts)), last.sums


def _size(parts: Sequence[Partials], counts: Indices) -> float:
    """Estimated number of entries of their join."""
    columns = {column for part in parts for column in part.columns}
    per_choice = [len(part) / math.prod(counts[list(part.columns)].tolist()) for part in parts]
    return float(math.prod(counts[list(columns)].tolist()) * math.prod(per_choice))


def _least(parts: Sequence[Partials]) -> Floats:
    """Lower bound on what these tables add to a sum, per metric."""
    return sum((part.sums.min(axis=0) for part in parts if len(part)), np.zeros(1))


def _join_all(parts: Sequence[Partials], counts: Indices, limits: Floats) -> Partials:
    """Join all, the smallest first; after each join, drop sums that exceed a limit whatever is added later."""
    ordered = sorted(parts, key=len)
    joined = ordered[0]
    for at, part in enumerate(ordered[1:], start=2):
        joined = _join(joined, part, counts)
        if not joined.columns:  # independent tables
            joined = joined.kept(_best(joined.keys((), counts), joined.sums))
        within = (joined.sums <= limits - _least(ordered[at:])).all(axis=1)
        if not within.all():
            joined = joined.kept(np.flatnonzero(within))
    return joined


def _join(one: Partials, other: Partials, counts: Indices) -> Partials:
    """Join two tables: every pair of entries that agrees in the columns that both have."""
    shared = [column for column in one.columns if column in other.columns]
    left, right = _pairs(one.keys(shared, counts), other.keys(shared, counts))
    own = [at for at, column in enumerate(other.columns) if column not in shared]
    return Partials(
        one.columns + tuple(other.columns[at] for at in own),
        np.concatenate([one.choices[left], other.choices[right][:, own]], axis=1),
        one.sums[left] + other.sums[right],
        ((one, left), (other, right)),
    )


def _pairs(one: Indices, other: Indices) -> tuple[Indices, Indices]:
    """Indices of all pairs of equal keys."""
    order = np.argsort(other, kind="stable")
    ranked = other[order]
    low, high = np.searchsorted(ranked, one, "left"), np.searchsorted(ranked, one, "right")
    found = high - low
    total = int(found.sum())
    if total > MOST_SUMS:
        raise BudgetError(
            f"exact search would hold {total:,} partial sums at once, {MOST_SUMS:,} at most: the metrics tie too many "
            "dims together. Choose the algorithm nsga2, or fewer budgets"
        )
    left = np.repeat(np.arange(len(one)), found)
    within = np.arange(total) - np.repeat(np.cumsum(found) - found, found)
    return left, order[np.repeat(low, found) + within]


def _closed(part: Partials, column: int, counts: Indices) -> Partials:
    """Eliminate a column: for each choice of the others, keep the non-dominated sums."""
    at = part.columns.index(column)
    columns = part.columns[:at] + part.columns[at + 1 :]
    kept = part.kept(_best(part.keys(columns, counts), part.sums))
    return Partials(columns, np.delete(kept.choices, at, axis=1), kept.sums, kept.made_from)


def _best(keys: Indices, sums: Floats) -> Indices:
    """For each key, the indices of its non-dominated sums, without duplicates."""
    order = np.lexsort([*sums.T[::-1], keys])
    keys, sums = keys[order], sums[order]
    starts = np.ones(len(keys), bool)
    starts[1:] = keys[1:] != keys[:-1]
    if sums.shape[1] == 1:
        return order[starts]
    if sums.shape[1] == 2:
        rank = np.unique(sums[:, 1], return_inverse=True)[1]
        record = rank - np.cumsum(starts) * (len(keys) + 1)  # each group starts below all that came before
        starts[1:] = record[1:] < np.minimum.accumulate(record)[:-1]
        return order[starts]
    bounds = np.append(np.flatnonzero(starts), len(keys))
    kept: Indices = order[np.concatenate([start + distinct_front(sums[start:end]) for start, end in pairwise(bounds)])]
    return kept
