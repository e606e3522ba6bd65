"""Budgets: metrics of many subnets at once, which of them fit, and the nearest one if none does."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from copy import copy
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import BudgetError
from elastic.profiles.profile import DeviceProfile
from elastic.searching.limits import COSTS, latency_name
from elastic.space.sampling import corner_rows, spread_rows
from elastic.space.space import Floats, Rows
from elastic.supernet.supernet import Supernet
from elastic.support.text import did_you_mean

Profiles = DeviceProfile | Mapping[str, DeviceProfile]
Predict = Callable[[Rows], Floats]
"""Predicts a metric of encoded archs: float64 `(n,)`."""

_STARTS = 4096


class CostModel:
    """Every metric of encoded archs that needs no evaluation: exact costs, predicted latencies, other predictions.

    Args:
        supernet: whose subnets.
        profile: needed for `latency_ms`; several by name give `latency_ms.NAME` each.
        predict: predictors by metric; they go before costs of the same name.

    Raises:
        BudgetError: a predictor that doesn't give a number per arch.
        ProfileError: a profile is another supernet's.
    """

    def __init__(
        self, supernet: Supernet, profile: Profiles | None = None, predict: Mapping[str, Predict] | None = None
    ) -> None:
        self.supernet = supernet
        self.profiles = _by_cost(profile)
        self.predict = dict(predict or {})
        for one in self.profiles.values():
            one.check_supernet(supernet)
        for name, predictor in self.predict.items():
            _check_predictor(name, predictor, corner_rows(supernet.space))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the available metrics."""
        return tuple(dict.fromkeys([*self.profiles, *COSTS[1:], *self.predict]))

    def function(self, name: str) -> Callable[[Rows], NDArray[Any]]:
        """The function that computes the metric `name` of encoded archs, one number each."""
        if name in self.predict:
            return self.predict[name]
        if name in self.profiles:
            return partial(self._latency, self.profiles[name])
        supernet = self.supernet
        return {"macs": supernet.macs, "params": supernet.params, "memory_bytes": supernet.memory}[name]

    def __call__(self, rows: Rows, names: Collection[str]) -> dict[str, Floats]:
        """Metrics by name: float64 `(n,)` each."""
        if not len(rows):  # which many a predictor refuses
            return {name: np.zeros(0) for name in names}
        return {name: np.asarray(self.function(name)(rows), np.float64) for name in names}

    def _latency(self, profile: DeviceProfile, rows: Rows) -> Floats:
        """Predicted milliseconds; infinite at resolutions that weren't measured."""
        there = profile.covers(self.supernet, rows)
        found = np.full(len(rows), np.inf)
        if there.any():
            found[there] = profile.latency_ms(self.supernet, rows[there])
        return found

    def covers(self, rows: Rows) -> NDArray[np.bool_]:
        """Mask of the archs with a latency on every device, that is at measured resolutions: bool `(n,)`."""
        covered = np.ones(len(rows), bool)
        for profile in self.profiles.values():
            covered &= profile.covers(self.supernet, rows)
        return covered

    def predicting(self, predict: Mapping[str, Predict]) -> CostModel:
        """A copy with additional predictors."""
        other = copy(self)
        other.predict = {**self.predict, **predict}
        return other

    def check(self, name: str, use: str) -> None:
        """Check that a latency of this name is available.

        Raises:
            BudgetError: it isn't; the message says why.
        """
        if name in self.names or name.split(".")[0] != "latency_ms":
            return
        if self.profiles:
            raise BudgetError(f"{use} {name}: there are several devices, name one of {', '.join(self.profiles)}")
        raise BudgetError(
            f"{use} {name} needs a device profile; make one with `elastic profile`, or elastic.measure_profile"
        )


def _by_cost(profile: Profiles | None) -> dict[str, DeviceProfile]:
    if isinstance(profile, Mapping):
        return {latency_name(name): one for name, one in profile.items()}
    return {} if profile is None else {"latency_ms": profile}


def _check_predictor(name: str, predictor: Predict, rows: Rows) -> None:
    shape = np.shape(predictor(rows))
    if shape != (len(rows),):
        raise BudgetError(f"predict[{name!r}] gave shape {shape} for {len(rows)} archs; wanted one number for each")


class Budget:
    """Upper limits on costs.

    Args:
        costs: what gives the costs.
        limits: by cost, the largest value allowed: `{"latency_ms": 8.0}`; any number of them.

    Raises:
        BudgetError: an unknown cost, or a limit that isn't a positive number.
    """

    def __init__(self, costs: CostModel, limits: Mapping[str, float]) -> None:
        for name, limit in limits.items():
            costs.check(name, "a budget of")
            if name not in costs.names:
                cure = did_you_mean(name, costs.names, f"a budget may limit {', '.join(costs.names)}")
                raise BudgetError(f"no cost is called {name!r}; {cure}")
            if isinstance(limit, bool) or not isinstance(limit, Real) or not 0 < limit < math.inf:
                raise BudgetError(f"the budget of {name} must be a number above 0, got {limit!r}")
        self.costs = costs
        self.limits = {name: float(limit) for name, limit in limits.items()}

    @property
    def binds(self) -> bool:
        """Whether some archs may not fit, because of limits, or of resolutions that a profile lacks."""
        return bool(self.limits) or any(profile.resolutions for profile in self.costs.profiles.values())

    def excess(self, rows: Rows) -> Floats:
        """Excess over the limits, relative to them and summed over them: float64 `(n,)`, 0 where an arch fits.

        Infinite for archs at a resolution that a profile didn't measure.
        """
        return self._excess(self.costs(rows, self.limits), rows)

    def _excess(self, costs: Mapping[str, Floats], rows: Rows) -> Floats:
        total = np.where(self.costs.covers(rows), 0.0, np.inf)
        for name, limit in self.limits.items():
            total += np.maximum(0.0, costs[name] / limit - 1)
        return total

    def fits(self, rows: Rows) -> NDArray[np.bool_]:
        """Mask of the archs that meet every limit: bool `(n,)`."""
        within: NDArray[np.bool_] = self.excess(rows) == 0
        return within

    def nearest(self, seed: int = 0) -> Rows:
        """An arch that fits, encoded: one row.

        Starts from the smallest arch and the best of a sample, and descends, one dim at a time; every step is
        one vectorised evaluation, and there are at most as many steps as choices.

        Raises:
            BudgetError: no arch fits; the message gives the nearest metrics.
        """
        space = self.costs.supernet.space
        starts = np.concatenate([corner_rows(space), spread_rows(space, seed, _STARTS)])
        costs = self.costs(starts, self.limits)
        excess = self._excess(costs, starts)
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
        counts = space.counts.tolist()
        lowest = self.excess(row)[0]
        for _ in range(sum(counts)):
            if lowest == 0:
                break
            around = space.canonical(neighbour_rows(row, counts))
            excess = self.excess(around)
            at = int(np.argmin(excess))
            if not excess[at] < lowest:
                break
            row, lowest = around[[at]], excess[at]
        return row

    def _impossible(self, nearest: Rows) -> str:
        costs = self.costs(nearest, self.limits)
        wanted = " and ".join(f"{name} ≤ {limit:g}" for name, limit in self.limits.items())
        given = " and ".join(f"{name} = {_sufficient(costs[name][0])}" for name in self.limits)
        arch = self.costs.supernet.space.decode(nearest)[0]
        return (
            f"no subnet has {wanted}; the nearest feasible value is {given} (arch {arch.id}). Raise the budget to it, "
            "or offer smaller choices"
        )


def _sufficient(value: float) -> str:
    """A number to read that, typed in as the limit, suffices: whole, or six digits rounded up."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value * (1 + 5e-6):.6g}"


# --- near an arch -------------------------------------------------------------------------------------------


def neighbour_rows(row: Rows, counts: list[int]) -> Rows:
    """All rows that differ from `row` (one row) in one column."""
    columns = np.repeat(np.arange(len(counts)), counts)
    values = np.concatenate([np.zeros(0), *map(np.arange, counts)]).astype(np.int16)
    around = np.repeat(row, len(columns), axis=0)
    around[np.arange(len(columns)), columns] = values
    kept: Rows = around[values != row[0, columns]]
    return kept
