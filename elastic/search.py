"""Search: the best subnets within a budget, by constrained evolution on encoded archs.

The evolution is Once-for-All's (Cai et al., ICLR 2020, https://arxiv.org/abs/1908.09791): each generation
keeps a part of the population as parents and fills the rest with mutations and crossovers that fit the budget.
Children are proposed and checked against the budget thousands at a time, so that no step waits for luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from elastic.arch import Arch
from elastic.budget import Budget, CostModel, neighbour_rows
from elastic.errors import BudgetError
from elastic.profile import DeviceProfile
from elastic.progress import progress_bar
from elastic.result import Candidate, SearchResult, goals_of, undominated
from elastic.sampling import corner_rows, distinct_rows, spread_rows
from elastic.space import Rows
from elastic.storage import digest_supernet
from elastic.supernet import Supernet

Evaluate = Callable[[Arch], Mapping[str, float]]
"""Measures a subnet: figures by name, such as `{"accuracy": 97.5}`."""

_PROPOSALS = 4096
_ROUNDS = 8
_PARENTS = 0.25
_MUTATION = 0.1


def search(
    supernet: Supernet,
    maximize: Sequence[str] = ("accuracy",),
    minimize: Sequence[str] = ("latency_ms",),
    subject_to: Mapping[str, float] | None = None,
    evaluate: Evaluate | None = None,
    profile: DeviceProfile | None = None,
    population: int = 16,
    generations: int = 6,
    seed: int = 0,
    progress: bool = False,
) -> SearchResult:
    """Find subnets with the best figures within a budget.

    Evaluates `population` × `generations` subnets at most, each once.

    Args:
        supernet: whose subnets.
        maximize: figures to maximise; those that aren't costs come from `evaluate`.
        minimize: figures to minimise, for example `"latency_ms"` or `"macs"`.
        subject_to: the largest value allowed of `latency_ms`, `macs`, `params` or `memory_bytes`.
        evaluate: measures a subnet (see `MeasuredAccuracy`); not needed where all objectives are costs.
        profile: predicts `latency_ms`.
        population: subnets per generation.
        generations: how many, the first (random) one included.
        seed: the result is a pure function of it, where `evaluate` is one of the arch.
        progress: show a progress bar.

    Raises:
        BudgetError: no subnet fits, which is known before any is evaluated; an unknown cost; or nothing to
            measure an objective with.
        ProfileError: the profile is another supernet's.
    """
    costs = CostModel(supernet, profile)
    budget = Budget(costs, subject_to or {})
    evolution = _Evolution(budget, tuple(maximize), tuple(minimize), evaluate, population, seed)
    evolution.check(generations)
    start = budget.nearest(seed)
    with progress_bar("evaluating subnets", population * generations, progress) as advance:
        evolution.run(start, generations, advance)
    return SearchResult(
        supernet=digest_supernet(supernet),
        maximize=tuple(maximize),
        minimize=tuple(minimize),
        subject_to=dict(subject_to or {}),
        candidates=tuple(evolution.candidates),
        seed=seed,
        device={} if profile is None else {**profile.device, **vars(profile.setting)},
    )


class _Evolution:
    def __init__(
        self,
        budget: Budget,
        maximize: tuple[str, ...],
        minimize: tuple[str, ...],
        evaluate: Evaluate | None,
        population: int,
        seed: int,
    ) -> None:
        self.budget = budget
        self.costs = budget.costs
        self.space = budget.costs.supernet.space
        self.maximize, self.minimize = maximize, minimize
        self.evaluate = evaluate
        self.population = population
        self.seed = seed
        self.candidates: list[Candidate] = []
        self.rows: Rows = np.zeros((0, len(self.space.dims)), np.int16)

    def check(self, generations: int) -> None:
        """Check the request before anything is evaluated."""
        objectives = self.maximize + self.minimize
        if not objectives:
            raise BudgetError("nothing to search for: name a figure to maximise or to minimise")
        if min(self.population, generations) < 1:
            raise BudgetError(f"population ({self.population}) and generations ({generations}) must be 1 or more")
        if "latency_ms" in objectives and self.costs.profile is None:
            raise BudgetError("minimising latency_ms needs a device profile; make one with `elastic profile`")
        measured = [name for name in objectives if name not in self.costs.names]
        if measured and self.evaluate is None:
            raise BudgetError(
                f"{measured[0]} isn't a cost ({', '.join(self.costs.names)}): pass evaluate=, which measures it"
            )

    def run(self, start: Rows, generations: int, advance: Callable[[int], None]) -> None:
        """Evolve from an arch that fits; stops early where the budget leaves nothing new to evaluate."""
        for generation in range(generations):
            pool = self._first(start) if generation == 0 else self._children(generation)
            for row in pool:
                self._evaluate(row)
                advance(1)
            if not len(pool):
                break

    # --- proposing ------------------------------------------------------------------------------------------

    def _first(self, start: Rows) -> Rows:
        """Random subnets that fit, from small to large, and the corners where they fit."""
        pool = np.concatenate([corner_rows(self.space), start, spread_rows(self.space, self.seed, _PROPOSALS)])
        pool = distinct_rows(pool[self.budget.fits(pool)])
        return self._filled(pool, start, 0)[: self.population]

    def _children(self, generation: int) -> Rows:
        """Mutations and crossovers of the parents that fit and are new."""
        parents = self.rows[self._parents()]
        return self._filled(np.zeros((0, parents.shape[1]), np.int16), parents, generation)[: self.population]

    def _filled(self, pool: Rows, parents: Rows, generation: int) -> Rows:
        """`pool`, topped up to a population with new children of `parents`, in a bounded number of rounds."""
        for attempt in range(_ROUNDS):
            if len(pool) >= self.population:
                break
            pool = self._merged(pool, self._proposed(parents, (self.seed, generation, attempt)))
        if len(pool) < self.population:  # a small space, or a tight budget: look next door, exhaustively
            counts = [len(dim.choices) for dim in self.space.dims]
            around = [neighbour_rows(row[None], counts) for row in np.concatenate([parents, self.rows])]
            pool = self._merged(pool, self.space.canonical(np.concatenate(around)))
        return pool

    def _proposed(self, parents: Rows, seed: tuple[int, int, int]) -> Rows:
        rng = np.random.default_rng(seed)
        mothers, fathers = parents[rng.integers(0, len(parents), (2, _PROPOSALS))]
        half = _PROPOSALS // 2
        rate = max(_MUTATION, 1 / len(self.space.dims)) * (1 + seed[2])
        mutated = self.space.mutate_rows(mothers[:half], min(rate, 0.5), [*seed, 1])
        crossed = self.space.crossover_rows(mothers[half:], fathers[half:], [*seed, 2])
        both: Rows = np.stack([mutated, crossed], axis=1).reshape(-1, parents.shape[1])
        return both

    def _merged(self, pool: Rows, proposed: Rows) -> Rows:
        """`pool` and those of the proposed that fit and haven't been evaluated."""
        proposed = proposed[self.budget.fits(proposed)]
        known = {row.tobytes() for row in self.rows}
        fresh = proposed[[row.tobytes() not in known for row in proposed]] if len(proposed) else proposed
        return distinct_rows(np.concatenate([pool, fresh]))

    # --- judging --------------------------------------------------------------------------------------------

    def _parents(self) -> Any:
        """A quarter of a population: half of them the best in the first objective, half from the whole front."""
        goals = goals_of([one.figures for one in self.candidates], self.maximize, self.minimize)
        wanted = max(2, round(_PARENTS * self.population))
        best = np.lexsort(goals.T[::-1])
        front = best[undominated(goals)[best]]
        spread = front[np.linspace(0, len(front) - 1, min(wanted - wanted // 2, len(front))).round().astype(int)]
        return np.unique(np.concatenate([best[: wanted // 2], spread]))

    def _evaluate(self, row: Rows) -> None:
        arch = self.space.decode(row[None])[0]
        figures = {name: float(cost[0]) for name, cost in self.costs(row[None], self.costs.names).items()}
        if self.evaluate is not None:
            figures.update({name: float(value) for name, value in self.evaluate(arch).items()})
        lacking = [name for name in self.maximize + self.minimize if name not in figures]
        if lacking:
            raise BudgetError(f"evaluate gave {sorted(figures)}, without the objective {lacking[0]!r}")
        self.candidates.append(Candidate(arch, figures))
        self.rows = np.concatenate([self.rows, row[None]])
