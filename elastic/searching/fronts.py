"""Pareto fronts and their hypervolume. All goals are numbers to minimise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from elastic.space.space import Floats


def undominated(goals: Floats) -> NDArray[np.bool_]:
    """Which rows of `(n, objectives)` no other row dominates; equal rows don't dominate each other."""
    order = np.lexsort(goals.T[::-1])
    ranked = goals[order]
    first = np.ones(len(goals), bool)
    first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    distinct = ranked[first]
    kept = _undominated_pairs(distinct) if goals.shape[1] <= 2 else _undominated_rows(distinct)
    found = np.empty(len(goals), bool)
    found[order] = kept[np.cumsum(first) - 1]
    return found


def _undominated_pairs(ranked: Floats) -> NDArray[np.bool_]:
    """Of distinct rows in lexicographic order, of one or two columns: those whose last column is a new record."""
    kept = np.ones(len(ranked), bool)
    kept[1:] = ranked[1:, -1] < np.minimum.accumulate(ranked[:, -1])[:-1]
    return kept


def _undominated_rows(ranked: Floats) -> NDArray[np.bool_]:
    """Of distinct rows in lexicographic order: each in turn drops all that it dominates, which come after it."""
    kept = np.zeros(len(ranked), bool)
    left = np.arange(len(ranked))
    while len(left):
        kept[left[0]] = True
        left = left[(ranked[left] < ranked[left[0]]).any(axis=1)]
    return kept


def distinct_front(goals: Floats) -> NDArray[np.intp]:
    """Indices of the undominated rows, of equal ones the first, ordered by the first objective, then the next."""
    front = np.flatnonzero(undominated(goals))
    first: NDArray[np.intp] = front[np.unique(goals[front], axis=0, return_index=True)[1]]
    return first


def spread_along(goals: Floats, n: int) -> NDArray[np.intp]:
    """Indices of at most `n` rows, evenly along the last objective's order, both ends included."""
    order = np.lexsort(goals.T)
    chosen: NDArray[np.intp] = order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]
    return chosen


def hypervolume(goals: Floats, reference: Floats) -> float:
    """The volume that goals `(n, objectives)` dominate, up to the reference point `(objectives,)`."""
    from pymoo.indicators.hv import HV

    return float(HV(ref_point=reference)(goals)) if len(goals) else 0.0


def hypervolume_history(goals: Floats, points: int = 100) -> tuple[tuple[int, float], ...]:
    """How the hypervolume grew: pairs of evaluations and volume, at most `points` of them.

    Args:
        goals: `(n, objectives)`, in the order of evaluation.
        points: how many pairs at most.

    Returns:
        Volumes from 0 to 1: goals are scaled so that the best value of each objective is 0 and its worst 1.
    """
    finite = np.where(np.isfinite(goals), goals, np.nan)
    finite = finite[~np.isnan(finite).any(axis=1)]
    if not len(finite):
        return tuple((len(goals), 0.0) for _ in goals[:1])
    best, worst = finite.min(axis=0), finite.max(axis=0)
    scaled = (goals - best) / np.where(worst > best, worst - best, 1.0)
    ends = np.linspace(0, len(goals), min(points, len(goals)) + 1).round().astype(int).tolist()
    front, history = scaled[:0], []
    for start, end in pairwise(ends):
        front = np.concatenate([front, scaled[start:end]])
        front = front[undominated(front)]
        history.append((end, hypervolume(front, np.ones(goals.shape[1]))))
    return tuple(history)
