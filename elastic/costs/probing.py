"""Probes: the subnets whose forward pass is traced, chosen so that the formulas of all costs can be found from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property

from elastic.costs.tracing import Subject, Trace, trace
from elastic.layers.rules import TensorRule
from elastic.layout.layout import sizes_of
from elastic.space.sizes import Number
from elastic.space.space import SearchSpace

Names = frozenset[str]


class Probes:
    """Traced forward passes of one supernet, with every block present.

    Attributes:
        layout: of a twin without weights, whose sizes all choose for themselves: those that always move together
            couldn't be told apart.
        space: the twin's.
        resolutions: what is offered, or a single 0.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._on_meta = subject.on_meta()
        self.layout = self._on_meta.layout
        self.layout.uncouple()
        self.space = SearchSpace(self.layout.dims)
        named = "resolution" in self.space.names
        self.resolutions: tuple[Number, ...] = self.space["resolution"].choices if named else (0,)
        self._traces: dict[frozenset[tuple[str, Number]], Trace] = {}

    # --- which subnets --------------------------------------------------------------------------------------

    def values(self, kind: str, ones: Names = frozenset()) -> dict[str, Number]:
        """Values of the dims: the largest, the smallest, or a mixture that tells sizes apart.

        Args:
            kind: "largest", "smallest" or "mixed".
            ones: the lone sizes that are 1; the other lone ones are more.
        """
        pattern = {"largest": (-1,), "smallest": (0,), "mixed": (0, -1)}[kind]
        values = {}
        for dim, pick in zip(self.space.dims, itertools.cycle(pattern), strict=False):
            lone = dim.name in self.lone
            choices = [choice for choice in dim.choices if not lone or (choice == 1) == (dim.name in ones)]
            values[dim.name] = dim.full if dim.name in self._fixed else choices[pick]
        return values

    def cases(self) -> list[Names]:
        """Which lone sizes are 1 together: those of each combination of kinds."""
        kinds = sorted({self.space[name].kind for name in self.lone})
        chosen = itertools.chain.from_iterable(itertools.combinations(kinds, n) for n in range(len(kinds) + 1))
        return [frozenset(name for name in self.lone if self.space[name].kind in some) for some in chosen]

    @cached_property
    def lone(self) -> dict[str, str]:
        """The widths that can be 1, and the module inside which each matters.

        Where they are, an axis of one unit takes no copy to be moved. Two of a kind that share a module are left out:
        cases don't tell them apart.
        """
        offered = {dim.name for dim in self.space.dims if dim.choices[0] == 1 and dim.name not in self._fixed}
        names = [name for name in offered if name in self.layout.sizes and self.layout.sizes[name].is_width]
        places = {name: self._place(name) for name in sorted(names)}

        def meet(one: str, other: str) -> bool:
            same = one != other and self.space[one].kind == self.space[other].kind
            return same and (_inside(places[one], places[other]) or _inside(places[other], places[one]))

        return {name: places[name] for name in places if not any(meet(name, other) for other in places)}

    def _place(self, size: str) -> str:
        """The innermost module that holds all that has the size."""
        bound = [
            path.split(".")
            for path, rules in self.layout.rules.items()
            if any(one.name == size for rule in rules.values() for one in sizes_of(rule))
        ]
        shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*bound, strict=False))
        return ".".join(level[0] for level in shared)

    @cached_property
    def kernels(self) -> dict[str, tuple[Number, ...]]:
        """The choices of each kernel."""
        names = {name for path in self.layout.rules for name in self.kernels_of(path)}
        return {dim.name: dim.choices for dim in self.space.dims if dim.name in names}

    @cached_property
    def _fixed(self) -> Names:
        """What is always at its largest, so that every block runs."""
        return frozenset({gate.depth for gates in self.layout.gates.values() for gate in gates} | {"resolution"})

    # --- what a place depends on ----------------------------------------------------------------------------

    def kernels_of(self, path: str) -> tuple[str, ...]:
        """The kernel sizes of the layer at `path`."""
        rules = self.layout.rules.get(path, {}).values()
        sizes = [size for rule in rules if isinstance(rule, TensorRule) for size in rule.axes.sizes]
        return tuple(dict.fromkeys(size.name for size in sizes if not size.is_width))

    def lone_of(self, path: str) -> list[str]:
        """The lone sizes that what runs at `path` depends on."""
        return [name for name, place in self.lone.items() if _inside(path, place)]

    # --- their passes ---------------------------------------------------------------------------------------

    def trace(self, values: Mapping[str, Number], resolution: int) -> Trace:
        """The forward pass with these values at a resolution, given by its index; MACs and memory share it."""
        at = {"resolution": self.resolutions[resolution]} if "resolution" in self.space.names else {}
        values = {**values, **at}
        key = frozenset(values.items())
        if key not in self._traces:
            self._traces[key] = trace(self._subject, self._on_meta, values)
        return self._traces[key]


def _inside(path: str, place: str) -> bool:
    return not place or path == place or path.startswith(f"{place}.")
