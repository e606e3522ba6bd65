"""Budgets: costs of many subnets at once, which of them fit, and the nearest one where none does."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from elastic.errors import BudgetError
from elastic.latency import Floats
from elastic.profile import DeviceProfile
from elastic.sampling import corner_rows, spread_rows
from elastic.space import Rows
from elastic.supernet import Supernet

COSTS = ("latency_ms", "macs", "params", "memory_bytes")
"""What can be minimised or limited without evaluating a subnet."""

_STARTS = 4096


class CostModel:
    """The predicted or exact costs of encoded archs.

    Args:
        supernet: whose subnets.
        profile: needed for `latency_ms`.
    """

    def __init__(self, supernet: Supernet, profile: DeviceProfile | None = None) -> None:
        self.supernet = supernet
        self.profile = profile
        if profile is not None:
            profile.check_supernet(supernet)

    @property
    def names(self) -> tuple[str, ...]:
        """The costs on offer."""
        return COSTS if self.profile is not None else COSTS[1:]

    def __call__(self, rows: Rows, names: Collection[str]) -> dict[str, Floats]:
        """Costs by name: float64 `(n,)` each."""
        exact: dict[str, Callable[[Rows], NDArray[np.int64]]] = {
            "macs": self.supernet.macs,
            "params": self.supernet.params,
            "memory_bytes": self.supernet.memory,
        }
        found: dict[str, Floats] = {}
        for name in names:
            if name == "latency_ms":
                assert self.profile is not None
                found[name] = self.profile.latency_ms(self.supernet, rows)
            else:
                found[name] = exact[name](rows).astype(np.float64)
        return found


class Budget:
    """Upper limits on costs.

    Args:
        costs: what gives the costs.
        limits: by cost, the largest value allowed: `{"latency_ms": 8.0}`.

    Raises:
        BudgetError: an unknown cost, or a limit that isn't a positive number.
    """

    def __init__(self, costs: CostModel, limits: Mapping[str, float]) -> None:
        for name, limit in limits.items():
            if name == "latency_ms" and name not in costs.names:
                raise BudgetError("a budget of latency_ms needs a device profile; make one with `elastic profile`")
            if name not in costs.names:
                raise BudgetError(f"no cost is called {name!r}; a budget may limit {', '.join(COSTS)}")
            if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < math.inf:
                raise BudgetError(f"the budget of {name} must be a number above 0, got {limit!r}")
        self.costs = costs
        self.limits = dict(limits)

    def excess(self, rows: Rows) -> Floats:
        """By how much archs exceed the limits, relative to them and summed: float64 `(n,)`, 0 where they fit."""
        total = np.zeros(len(rows))
        for name, cost in self.costs(rows, self.limits).items():
            total += np.maximum(0.0, cost / self.limits[name] - 1)
        return total

    def fits(self, rows: Rows) -> NDArray[np.bool_]:
        """Which archs meet every limit."""
        within: NDArray[np.bool_] = self.excess(rows) == 0
        return within

    def nearest(self, seed: int = 0) -> Rows:
        """An arch that fits, encoded: one row.

        Starts from the smallest arch and the best of a sample, and descends, one dim at a time; every step is
        one vectorised evaluation, and there are at most as many steps as choices.

        Raises:
            BudgetError: no arch fits; the message gives the nearest figures.
        """
        space = self.costs.supernet.space
        starts = np.concatenate([corner_rows(space), spread_rows(space, seed, _STARTS)])
        excess = self.excess(starts)
        best = starts[[int(np.argmin(excess))]]
        for start in (best, starts[:1]):
            row = self._descend(start)
            if self.excess(row)[0] < self.excess(best)[0]:
                best = row
        if self.excess(best)[0] > 0:
            raise BudgetError(self._impossible(best))
        return best

    def _descend(self, row: Rows) -> Rows:
        space = self.costs.supernet.space
        lowest = self.excess(row)[0]
        for _ in range(sum(len(dim.choices) for dim in space.dims)):
            if lowest == 0:
                break
            around = neighbour_rows(row, [len(dim.choices) for dim in space.dims])
            around = space.canonical(around)
            excess = self.excess(around)
            at = int(np.argmin(excess))
            if not excess[at] < lowest:
                break
            row, lowest = around[[at]], excess[at]
        return row

    def _impossible(self, nearest: Rows) -> str:
        costs = self.costs(nearest, self.limits)
        wanted = " and ".join(f"{name} ≤ {limit:g}" for name, limit in self.limits.items())
        given = " and ".join(f"{name} = {costs[name][0]:g}" for name in self.limits)
        arch = self.costs.supernet.space.decode(nearest)[0]
        return (
            f"no subnet has {wanted}; the nearest feasible figure is {given} (arch {arch.id}). Raise the budget to it, "
            "or offer smaller choices"
        )


def neighbour_rows(row: Rows, counts: list[int]) -> Rows:
    """All rows that differ from `row` (one row) in one column."""
    columns = np.repeat(np.arange(len(counts)), counts)
    values = np.concatenate([np.arange(count) for count in counts]).astype(np.int16)
    around = np.repeat(row, len(columns), axis=0)
    around[np.arange(len(columns)), columns] = values
    kept: Rows = around[values != row[0, columns]]
    return kept
