"""The problem that every search algorithm solves: minimise objectives within a budget, evaluating no subnet twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np

from elastic.errors import BudgetError
from elastic.searching.budget import Budget, Predict
from elastic.searching.cache import EvaluateArch
from elastic.space.space import Floats, Rows
from elastic.support.text import did_you_mean


class Problem:
    """Objectives and budget of a search, with everything evaluated so far.

    Archs are rows of choice indices. Objectives are minimised; those to maximise are negated and come first. NaN
    counts as worst.

    Args:
        budget: upper limits, and the metrics that need no evaluation.
        maximize: names of the metrics to maximise.
        minimize: names of the metrics to minimise.
        measure: evaluates one subnet; its metrics override predicted ones of the same name.
        seed: random seed; results are reproducible.
        most: the largest number of evaluations; None: no limit.
        advance: callback, called with the number of newly evaluated subnets.

    Attributes:
        start: an arch that fits the budget, encoded: one row.
        measured: metrics that `measure` returned, one mapping per evaluated row; empty without `measure`.

    Raises:
        BudgetError: no objective, no source for an objective, a limit on a metric to maximise, or no subnet within
            the budget.
    """

    def __init__(
        self,
        budget: Budget,
        maximize: Sequence[str],
        minimize: Sequence[str],
        measure: EvaluateArch | None = None,
        seed: Sequence[int] = (0,),
        most: int | None = None,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> None:
        self.budget = budget
        self.costs = budget.costs
        self.space = budget.costs.supernet.space
        self.maximize, self.minimize = tuple(maximize), tuple(minimize)
        self.measure = measure
        self.seed = tuple(seed)
        self.most = most
        self.advance = advance
        self._check_objectives()
        self.start = budget.nearest(self.seed[0])
        self.measured: list[Mapping[str, float]] = []
        self._known: set[bytes] = set()
        self._rows: list[Rows] = [self.start[:0]]
        self._goals: list[Floats] = [np.zeros((0, len(self.objectives)))]

    def _check_objectives(self) -> None:
        if not self.objectives:
            raise BudgetError("nothing to search for: name a metric to maximise or to minimise")
        for name in self.objectives:
            self.costs.check(name, "minimising")
        for name in self.maximize:
            if name in self.budget.limits:
                raise BudgetError(f"a budget is the most that {name} may be, and it is to be maximised; leave one out")
        if self.measure is None and self.unpredicted:
            raise BudgetError(
                f"{self.unpredicted[0]} isn't a cost ({', '.join(self.costs.names)}): pass evaluate=, which measures "
                "it, or predict=, which predicts it"
            )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives' names: those to maximise, then those to minimise."""
        return self.maximize + self.minimize

    @property
    def unpredicted(self) -> tuple[str, ...]:
        """The objectives that neither a formula nor a predictor computes, so that `measure` has to."""
        return tuple(name for name in self.objectives if name not in self.costs.names)

    @property
    def rows(self) -> Rows:
        """All evaluated archs, encoded, in the order of evaluation: `(n, dims)`."""
        self._rows = [np.concatenate(self._rows)]
        return self._rows[0]

    @property
    def goals(self) -> Floats:
        """Objectives of the evaluated archs: float64 `(n, objectives)`."""
        self._goals = [np.concatenate(self._goals)]
        return self._goals[0]

    @property
    def evaluations(self) -> int:
        """Number of evaluated subnets."""
        return len(self._known)

    @property
    def done(self) -> bool:
        """Whether the limit on evaluations is reached."""
        return self.most is not None and self.evaluations >= self.most

    def new(self, rows: Rows) -> Rows:
        """Filter canonical rows to those within budget and not yet evaluated, without duplicates, in order."""
        rows = rows[self.budget.fits(rows)] if self.budget.binds else rows
        return rows[new_indices(row_keys(rows), self._known)]

    def evaluate(self, rows: Rows) -> Floats:
        """Evaluate rows from `new`; returns objectives `(n, objectives)`. Truncated at the evaluation limit."""
        if self.most is not None:
            rows = rows[: self.most - self.evaluations]
        goals = self._goals_of(rows, self._measured(rows))
        self._known.update(row_keys(rows))
        self._rows.append(rows)
        self._goals.append(goals)
        return goals

    def _measured(self, rows: Rows) -> list[Mapping[str, float]]:
        if self.measure is None:
            self.advance(len(rows))
            return []
        found: list[Mapping[str, float]] = []
        for arch in self.space.decode(rows):
            metrics = self.measure(arch)
            lacking = [name for name in self.unpredicted if name not in metrics]
            if lacking:
                cure = did_you_mean(lacking[0], [*self.budget.costs.names, *metrics])
                raise BudgetError(f"evaluate gave {sorted(metrics)}, without the objective {lacking[0]!r}; {cure}")
            found.append(metrics)
            self.advance(1)
        self.measured += found
        return found

    def _goals_of(self, rows: Rows, measured: Sequence[Mapping[str, float]]) -> Floats:
        goals = np.empty((len(rows), len(self.objectives)))
        for at, name in enumerate(self.objectives):
            if measured and name in measured[0]:
                goals[:, at] = [metrics[name] for metrics in measured]
            else:
                goals[:, at] = self.costs(rows, [name])[name]
        goals[:, : len(self.maximize)] *= -1
        return np.nan_to_num(goals, nan=np.inf, posinf=np.inf, neginf=-np.inf)

    def predicted_by(self, predict: Mapping[str, Predict], seed: Sequence[int], most: int) -> Problem:
        """A fresh copy of this problem that uses predictors instead of measurements."""
        budget = Budget(self.costs.predicting(predict), self.budget.limits)
        return Problem(budget, self.maximize, self.minimize, seed=seed, most=most)


def row_keys(rows: Rows) -> list[bytes]:
    """A hashable key for each row, equal for equal rows."""
    if not rows.size:
        return [b""] * len(rows)
    as_bytes = np.dtype((np.void, rows.itemsize * rows.shape[1]))
    keys: list[bytes] = np.ascontiguousarray(rows).view(as_bytes).ravel().tolist()
    return keys


def new_indices(keys: Sequence[bytes], known: Set[bytes]) -> list[int]:
    """Indices of the first occurrence of each key not in `known`."""
    new = [at for at, key in enumerate(keys) if key not in known]
    first = {keys[at]: at for at in reversed(new)}
    return sorted(first.values())
