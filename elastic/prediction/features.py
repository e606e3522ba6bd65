"""Features of encoded archs for predictors: number of blocks, MACs and other metrics, and each choice.

Multiply-accumulates are summed by container and by kind of layer: depthwise convolutions, say, are seldom as
fast as others, and one stage isn't as fast as another. The sums are exact, and follow the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from elastic.costs.formulas import CostTerm, tabulated
from elastic.layout.layout import SizeEvaluator, sizes_of
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.space.tables import TableSum, choice_sum, fill_one_hot, look_up
from elastic.supernet.supernet import Supernet


@dataclass(frozen=True)
class Groups:
    """Layout of the feature columns: blocks first, then MACs, other metrics, and choices last.

    Attributes:
        blocks: number of columns that count blocks.
        macs: number of columns with MACs.
        metrics: number of columns before those of single choices.
    """

    blocks: int
    macs: int
    metrics: int


class Encoder(Protocol):
    """Turns encoded archs `(n, dims)` into features: float64 `(n, features)`."""

    space: SearchSpace
    groups: Groups
    kinds: tuple[str, ...]
    """The regressions that these features are for."""

    def __call__(self, rows: Rows) -> Floats:
        """Features of encoded archs."""
        ...

    def weighted(self, weights: Floats, constant: float) -> TableSum:
        """A weighted sum of features and a constant, where it is a sum of small tables."""
        ...


class ArchFeatures:
    """Features of the archs of a search space.

    Args:
        space: whose archs.
        supernet: adds exact costs; without one, the dims' values stand in for them.
    """

    def __init__(self, space: SearchSpace, supernet: Supernet | None = None) -> None:
        self.space = space
        gates = {gate.depth for dim in space.dims for use in dim.uses for gate in use}
        self._depths = [at for at, dim in enumerate(space.dims) if dim.name in gates]
        self._sums = [] if supernet is None else _mac_sums(supernet)
        first = space.canonical(np.zeros((1, len(space.dims)), np.int16))
        self.groups = Groups(len(self._depths), len(self._sums), len(self._metrics(first)))
        roofline = ("roofline",) if self._sums else ()
        self.kinds = ("additive", "ridge", *roofline, "gp", "boosting", "mlp")

    def __call__(self, rows: Rows) -> Floats:
        """Features `(n, features)`; a choice is 0 where its dim doesn't exist."""
        rows = self.space.checked(rows)
        metrics = self._metrics(rows)
        features: Floats = np.empty((len(metrics) + int(self.space.counts.sum()), len(rows)))
        features[: len(metrics)] = metrics
        fill_one_hot(self.space, rows, features[len(metrics) :])
        transposed: Floats = features.T
        return transposed

    def weighted(self, weights: Floats, constant: float) -> TableSum:
        """The sum of a constant and weighted choices; other features must have no weight."""
        assert not weights[: self.groups.metrics].any()
        values = np.split(weights[self.groups.metrics :], np.cumsum(self.space.counts)[:-1])
        return choice_sum(self.space, values, constant)

    def _metrics(self, rows: Rows) -> list[Floats]:
        exists = self.space.existing(rows)
        values = self.space.values(rows)
        present = [values[dim.name] * there for dim, there in zip(self.space.dims, exists, strict=True)]
        macs = look_up(self._sums, rows)
        metrics = [*(present[at] for at in self._depths), *macs]
        if len(macs):
            total = np.sum(macs, axis=0)
            metrics += [total, np.log(np.maximum(total, 1.0))]
        else:
            metrics += [one for at, one in enumerate(present) if at not in self._depths]
        if "resolution" in values:
            metrics += [values["resolution"], values["resolution"] ** 2.0]
        return [np.asarray(one, np.float64) for one in metrics]


Features = ArchFeatures
"""The former name."""


def _mac_sums(supernet: Supernet) -> list[TableSum]:
    """Sums of multiply-accumulates, one for each container and kind of layer in it."""
    groups: dict[tuple[frozenset[str], frozenset[str]], list[CostTerm]] = {}
    for term in supernet.costs.mac_terms():
        containers = frozenset(gate.depth for gate in term.gates)
        weight = supernet.layout.rules.get(term.path, {}).get("weight")
        names = [*term.sizes, *(size.name for size in (sizes_of(weight) if weight else ()))]
        kinds = frozenset(name.split(".")[0] for name in names)
        groups.setdefault((containers, kinds), []).append(term)
    sizes = SizeEvaluator(supernet.space, supernet.layout)
    return [tabulated(supernet.space, sizes, terms) for terms in groups.values()]
