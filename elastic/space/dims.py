"""Dims: the sizes that can be chosen, which of them a subnet has, and how many networks they make."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elastic.space.sizes import Keep, Number


@dataclass(frozen=True)
class Gate:
    """A block's place in an elastic container: it runs if the container's depth keeps its index."""

    depth: str
    index: int
    full: int
    keep: Keep = "prefix"

    def passes(self, depth: Any) -> Any:
        """Whether a depth keeps the block, as `kept_indices` says: a bool, or an array for an array of depths."""
        if self.keep == "centre":
            start = (self.full - depth) // 2
            return (start <= self.index) & (self.index < start + depth)
        if self.keep == "spread":
            nearest = -(-self.index * depth // self.full)  # the first of those kept that isn't before the block
            return (nearest < depth) & (nearest * self.full // depth == self.index)
        return self.index < depth


@dataclass(frozen=True)
class Dim:
    """A named size that can be chosen.

    Attributes:
        name: unique; its first part is its kind (`heads` for `heads.3`).
        choices: the values on offer, ascending; the last one is the original model's.
        uses: the places that the dim is used in, each the gates that it stands behind; a dim exists in an
            arch if all gates of any one of its uses pass.
        counted: whether it distinguishes networks (resolution doesn't: it changes the input).
    """

    name: str
    choices: tuple[Number, ...]
    uses: frozenset[tuple[Gate, ...]] = frozenset({()})
    counted: bool = True

    @property
    def kind(self) -> str:
        """The first part of the name."""
        return self.name.split(".")[0]

    @property
    def full(self) -> Number:
        """The largest choice."""
        return self.choices[-1]

    @property
    def gated(self) -> bool:
        """Whether the dim is behind a gate, so that some depths leave it out."""
        return () not in self.uses

    def exists(self, values: Mapping[str, Number]) -> bool:
        """Whether an arch with these depths has the dim (all its gates are open)."""

        def passes(gate: Gate) -> bool:
            return gate.depth not in values or gate.passes(values[gate.depth])

        return any(all(map(passes, use)) for use in self.uses)

    def simplified(self, choices: Mapping[str, Sequence[Number]]) -> Dim:
        """The dim without gates that pass for every choice of their depth."""

        def matters(gate: Gate) -> bool:
            return not all(gate.passes(value) for value in choices[gate.depth])

        uses = frozenset(tuple(filter(matters, use)) for use in self.uses)
        return replace(self, uses=frozenset({()}) if () in uses else uses)


def alike(dims: Iterable[Dim]) -> dict[tuple[str, tuple[Number, ...]], list[str]]:
    """The names of dims of one kind and with the same choices, by both."""
    found: dict[tuple[str, tuple[Number, ...]], list[str]] = {}
    for dim in dims:
        found.setdefault((dim.kind, dim.choices), []).append(dim.name)
    return found


def count_networks(dims: Sequence[Dim]) -> int:
    """The exact number of distinct networks that these dims make."""
    by_name = {dim.name: dim for dim in dims}
    total = 1
    for group in _groups(dims):
        total *= _count(group, by_name)
    return total


def _groups(dims: Sequence[Dim]) -> list[list[Dim]]:
    """Dims that depend on each other through gates, together."""
    parent = {dim.name: dim.name for dim in dims}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for dim in dims:
        for gate in itertools.chain.from_iterable(dim.uses):
            parent[root(dim.name)] = root(gate.depth)
    groups: dict[str, list[Dim]] = {}
    for dim in dims:
        groups.setdefault(root(dim.name), []).append(dim)
    return list(groups.values())


def _count(group: Sequence[Dim], by_name: Mapping[str, Dim]) -> int:
    """Distinct networks of one group: a sum over its depths of products over the dims that exist."""
    names = sorted({gate.depth for dim in group for use in dim.uses for gate in use})
    rest = [dim for dim in group if dim.name not in names]
    total, seen = 0, set()
    for values in itertools.product(*(by_name[name].choices for name in names)):
        depths = dict(zip(names, values, strict=True))
        existing = frozenset((n, v) for n, v in depths.items() if by_name[n].exists(depths))
        if existing in seen:  # a depth inside a block that isn't there doesn't distinguish networks
            continue
        seen.add(existing)
        product = 1
        for dim in rest:
            if dim.counted and dim.exists(depths):
                product *= len(dim.choices)
        total += product
    return total
