"""Costs of many encoded archs, some thousands at a time: what a chunk needs stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from elastic.space import Rows

_ROWS = 16384


def by_chunks(cost: Callable[[Rows], NDArray[np.int64]], rows: Rows) -> NDArray[np.int64]:
    """`cost(rows)`, int64 `(n,)`, computed chunk by chunk."""
    total = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), _ROWS):
        total[start : start + _ROWS] = cost(rows[start : start + _ROWS])
    return total
