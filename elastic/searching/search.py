"""Search: the best subnets within a budget, on encoded archs, by one of several algorithms."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import BudgetError
from elastic.prediction.predictor import Predictor
from elastic.searching.budget import Budget, CostModel, Predict, Profiles
from elastic.searching.cache import EvaluateArch, Measurements, open_measurements
from elastic.searching.fronts import hypervolume_history, spread_along, undominated
from elastic.searching.problem import Problem
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.supernet.folder import digest_supernet
from elastic.supernet.supernet import Supernet
from elastic.support.packages import require_packages
from elastic.support.progress import progress_bar

_ALL = 2000
"""So many evaluated subnets are all kept, and so many of a front."""
_SOME = 500
"""Of more evaluated subnets the front is kept, and some others, evenly, up to so many in all."""


def search(
    supernet: Supernet,
    maximize: Sequence[str] = ("accuracy",),
    minimize: Sequence[str] = ("latency_ms",),
    subject_to: Mapping[str, float] | None = None,
    evaluate: EvaluateArch | None = None,
    profile: Profiles | None = None,
    predict: Mapping[str, Predict] | None = None,
    algorithm: str | None = None,
    population: int = 16,
    generations: int = 6,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = False,
) -> SearchResult:
    """Find the best subnets within a budget.

    Evaluates `population` × `generations` subnets at most, each once. A search that was interrupted and is run
    again with its `cache` measures only what it hadn't, and ends as if it had never been interrupted.

    Args:
        supernet: whose subnets.
        maximize: metrics to maximise; those that are neither costs nor predicted come from `evaluate`.
        minimize: metrics to minimise, for example `"latency_ms"` or `"macs"`.
        subject_to: the largest value allowed of `latency_ms` (milliseconds), `macs`, `params`, `memory_bytes`, or
            of what `predict` predicts; in any combination.
        evaluate: measures a subnet (see `MeasuredAccuracy`); not needed where every objective is a cost or predicted.
        profile: predicts `latency_ms`; several by name predict `latency_ms.NAME` each, one of the
            empty name `latency_ms`.
        predict: predictors of other metrics, by name: from encoded archs to a number each.
        algorithm: by default linas where an objective is measured, else nsga2:
            nsga2, nsga3 (three objectives and more), evolution (the fastest where metrics are predicted),
            random (a baseline), linas (few evaluations that take long), dynamic (exact, where every metric is a
            sum of small tables; it evaluates the optimum or the front and nothing else).
        population: subnets per generation.
        generations: how many, the first (random) one included.
        seed: the result is a pure function of it, where `evaluate` is one of the arch.
        cache: a file that keeps what `evaluate` measured; it belongs to this supernet's weights.
        progress: show a progress bar.

    Raises:
        BudgetError: no subnet fits, which is known before any is evaluated; an unknown cost, or a limit in another
            unit; nothing to measure an objective with; an unknown algorithm, or one that this problem isn't for.
        ProfileError: a profile is another supernet's.
        CheckpointError: the cache is another supernet's, broken, or in another search's hands.
        PackageError: pymoo or scikit-learn isn't installed.
    """
    require_packages("a search", "moocore")
    from elastic.searching.algorithms import ALGORITHMS, check_algorithm

    check_algorithm(algorithm)
    _check(maximize, minimize, population, generations)
    budget = Budget(CostModel(supernet, profile, predict), subject_to or {})
    measured = {*maximize, *minimize} - {*budget.costs.names}
    with _measurements(evaluate, supernet, cache, measured) as measure:
        problem = Problem(budget, maximize, minimize, measure, (seed,), population * generations)
        name = algorithm or ("linas" if problem.unpredicted else "nsga2")
        with progress_bar("evaluating subnets", population * generations, progress) as problem.advance:
            ALGORITHMS[name](problem, population, generations)
    return SearchResult(
        supernet=digest_supernet(supernet),
        maximize=problem.maximize,
        minimize=problem.minimize,
        subject_to=budget.limits,
        candidates=_candidates(problem),
        seed=seed,
        device=_device(profile),
        algorithm=name,
        evaluations=problem.evaluations,
        history=hypervolume_history(problem.goals),
        predictors=_predictors(predict or {}),
    )


def _check(maximize: Sequence[str], minimize: Sequence[str], population: int, generations: int) -> None:
    if min(population, generations) < 1:
        raise BudgetError(f"population ({population}) and generations ({generations}) must be 1 or more")
    for given in (maximize, minimize):
        if isinstance(given, str):
            raise BudgetError(f"metrics are named in a list: wanted [{given!r}], got {given!r}")


@contextmanager
def _measurements(
    evaluate: EvaluateArch | None, supernet: Supernet, cache: str | Path | None, wanted: Collection[str]
) -> Iterator[Measurements | None]:
    if evaluate is None:
        yield None
        return
    with open_measurements(evaluate, supernet, cache, wanted) as measure:
        yield measure


def _candidates(problem: Problem) -> tuple[EvaluatedSubnet, ...]:
    """All that was evaluated, or the front and an even sample; with every metric, in the order of evaluation."""
    kept = _kept(problem)
    rows = problem.rows[kept]
    costs = problem.costs(rows, problem.costs.names)
    columns = zip(*(cost.tolist() for cost in costs.values()), strict=True)
    metrics = [dict(zip(costs, values, strict=True)) for values in columns]
    for one, at in zip(metrics, kept, strict=True):
        one.update(problem.measured[at] if problem.measured else {})
    return tuple(EvaluatedSubnet(arch, one) for arch, one in zip(problem.space.decode(rows), metrics, strict=True))


def _kept(problem: Problem) -> NDArray[np.intp]:
    goals = problem.goals
    if len(goals) <= _ALL:
        return np.arange(len(goals))
    front = np.flatnonzero(undominated(goals))
    best = front[np.lexsort(goals[front].T[::-1])[:1]]
    kept = np.zeros(len(goals), bool)
    kept[front[spread_along(goals[front], _ALL)]] = kept[best] = True
    others = np.flatnonzero(~kept)
    kept[others[np.linspace(0, len(others) - 1, max(0, _SOME - int(kept.sum()))).round().astype(int)]] = True
    return np.flatnonzero(kept)


def _predictors(predict: Mapping[str, Predict]) -> dict[str, dict[str, Any]]:
    """Kind, sample size and errors of predictors that `fit_predictor` made."""
    made = {name: one for name, one in predict.items() if isinstance(one, Predictor)}
    return {
        name: {"kind": one.kind, "n": one.error.n, "rmse": one.error.rmse, "tau": one.error.tau}
        for name, one in made.items()
    }


def _device(profile: Profiles | None) -> dict[str, Any]:
    """Device and setting of the latencies; by device name if there are several profiles."""
    if profile is None:
        return {}
    if isinstance(profile, Mapping):
        return _device(profile[""]) if "" in profile else {name: _device(one) for name, one in profile.items()}
    return {**profile.device, **vars(profile.setting)}
