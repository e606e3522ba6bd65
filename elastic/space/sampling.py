"""Archs from small to large: what a measurement or a search starts from."""

from __future__ import annotations

import numpy as np

from elastic.space.space import Rows, SearchSpace, Seed


def spread_rows(space: SearchSpace, seed: Seed, n: int) -> Rows:
    """`n` random archs, encoded, that reach from small to large; a pure function of `seed`.

    Choosing each dim uniformly gives subnets that are all of middling cost, the more so the more dims there
    are. Here each arch has a leaning of its own, from all small to all large.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([len(dim.choices) for dim in space.dims])
    leaning = np.exp(rng.uniform(-1.5, 1.5, (n, 1)))
    drawn = np.floor(counts * rng.random((n, len(counts))) ** leaning)
    return space.canonical(np.minimum(drawn, counts - 1).astype(np.int16))


def distinct_rows(rows: Rows) -> Rows:
    """The rows without repetitions, in their order."""
    first = np.unique(rows, axis=0, return_index=True)[1]
    kept: Rows = rows[np.sort(first)]
    return kept


def corner_rows(space: SearchSpace) -> Rows:
    """The smallest and the largest arch, encoded."""
    return space.encode([space.smallest, space.largest])
