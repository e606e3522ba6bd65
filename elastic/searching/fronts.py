"""Pareto fronts and their hypervolume. All goals are numbers to minimise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from elastic.space.space import Floats


def undominated(goals: Floats) -> NDArray[np.bool_]:
    """Mask of the non-dominated rows of `(n, objectives)`: bool `(n,)`; equal rows don't dominate each other."""
    from moocore import is_nondominated

    found: NDArray[np.bool_] = is_nondominated(goals, keep_weakly=True)
    return found


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
    from moocore import hypervolume as volume

    return float(volume(goals, ref=reference)) if len(goals) else 0.0


def hypervolume_history(goals: Floats, points: int = 100) -> tuple[tuple[int, float], ...]:
    """Growth of the hypervolume: (evaluations, volume) pairs, at most `points` of them.

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
