"""What a predictor sees of encoded archs: how many blocks run, what they compute, and each choice.

Multiply-accumulates are summed by container and by kind of layer: depthwise convolutions, say, are seldom as
fast as others, and one stage isn't as fast as another. The sums are exact, and follow the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from elastic.costs.formulas import TableSum, Term
from elastic.layout.layout import Sizes
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.space.tables import fill_one_hot, look_up
from elastic.supernet.supernet import Supernet

if TYPE_CHECKING:
    from elastic.space.tables import Table


@dataclass(frozen=True)
class Groups:
    """Where the columns of features are: blocks first, then MACs, other figures, and choices last.

    Attributes:
        blocks: how many columns count blocks.
        macs: how many give multiply-accumulates.
        figures: how many columns come before those of single choices.
    """

    blocks: int
    macs: int
    figures: int


class Encoder(Protocol):
    """Turns encoded archs `(n, dims)` into features: float64 `(n, features)`."""

    space: SearchSpace
    groups: Groups
    kinds: tuple[str, ...]
    """The regressions that these features are for."""

    def __call__(self, rows: Rows) -> Floats:
        """Features of encoded archs."""
        ...

    def tables(self, weights: Floats, constant: float) -> list[Table]:
        """The addends of a weighted sum of features and a constant, where it is a sum of small tables."""
        ...


class Features:
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
        self.groups = Groups(len(self._depths), len(self._sums), len(self._figures(first)))
        roofline = ("roofline",) if self._sums else ()
        self.kinds = ("additive", "ridge", *roofline, "gp", "boosting", "mlp")

    def __call__(self, rows: Rows) -> Floats:
        """Features `(n, features)`; a choice is 0 where its dim doesn't exist."""
        rows = self.space.checked(rows)
        figures = self._figures(rows)
        features: Floats = np.empty((len(figures) + int(self.space.counts.sum()), len(rows)))
        features[: len(figures)] = figures
        fill_one_hot(self.space, rows, features[len(figures) :])
        transposed: Floats = features.T
        return transposed

    def tables(self, weights: Floats, constant: float) -> list[Table]:
        """The addends of a constant and weighted choices, by dim; other features must have no weight."""
        from elastic.space.tables import ChoiceSum

        assert not weights[: self.groups.figures].any()
        counts = [len(dim.choices) for dim in self.space.dims]
        values = np.split(weights[self.groups.figures :], np.cumsum(counts)[:-1])
        return ChoiceSum(self.space, tuple(values), constant).tables(self.space)

    def _figures(self, rows: Rows) -> list[Floats]:
        exists = self.space.existing(rows)
        values = self.space.values(rows)
        present = [values[dim.name] * there for dim, there in zip(self.space.dims, exists, strict=True)]
        macs = look_up([one.tables for one in self._sums], rows)
        figures = [*(present[at] for at in self._depths), *macs]
        if len(macs):
            total = np.sum(macs, axis=0)
            figures += [total, np.log(np.maximum(total, 1.0))]
        else:
            figures += [one for at, one in enumerate(present) if at not in self._depths]
        if "resolution" in values:
            figures += [values["resolution"], values["resolution"] ** 2.0]
        return [np.asarray(one, np.float64) for one in figures]


def _mac_sums(supernet: Supernet) -> list[TableSum]:
    """Sums of multiply-accumulates, one for each container and kind of layer in it."""
    groups: dict[tuple[frozenset[str], frozenset[str]], list[Term]] = {}
    for term in supernet.costs.mac_terms():
        containers = frozenset(gate.depth for gate in term.gates)
        kinds = frozenset(name.split(".")[0] for name in term.sizes)
        groups.setdefault((containers, kinds), []).append(term)
    sizes = Sizes(supernet.space, supernet.layout)
    return [TableSum(supernet.space, sizes, terms) for terms in groups.values()]
