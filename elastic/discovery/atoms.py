"""Atoms: the lengths that tensor axes are made of.

While a model runs (`elastic.discovery.watching`), every axis of every tensor is a product of atoms, outermost first.
The operators show which atoms are the same (a layer's inputs and the outputs of the layer before), which are products
of others (a projection's outputs: 3 × heads × 64), and which can't change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence


class Atom:
    """A factor of tensor axes; equal atoms are joined, and an atom that turns out to be a product is split.

    Attributes:
        length: number of units.
        why: the reason why it can't change; empty if it can.
        ordered: whether the units' order has a meaning.
        roles: uses that have been observed: "heads", or "stream" (the residual stream, to which blocks are added).
    """

    __slots__ = ("_joined", "_parts", "length", "ordered", "roles", "why")

    def __init__(self, length: int, why: str = "") -> None:
        self.length = length
        self.why = why
        self.ordered = False
        self.roles: set[str] = set()
        self._joined: Atom | None = None
        self._parts: tuple[Atom, ...] = ()

    def leaves(self) -> list[Atom]:
        """The atoms that it consists of now: itself, the atom it was joined with, or the parts it was split into."""
        root = self
        while root._joined is not None:
            root = root._joined
        parts = root._parts  # noqa: SLF001 - an atom, too
        return list(itertools.chain.from_iterable(part.leaves() for part in parts)) if parts else [root]

    def join(self, other: Atom) -> None:
        """Join another leaf of the same length with this leaf."""
        other._joined = self
        self.why = self.why or other.why
        self.ordered |= other.ordered
        self.roles |= other.roles

    def split(self, outer: int) -> None:
        """Split this leaf into `outer` and the remaining factor."""
        self._parts = (Atom(outer, self.why), Atom(self.length // outer, self.why))
        for part in self._parts:
            part.ordered = self.ordered
            part.roles |= self.roles


Factors = tuple[Atom, ...]
"""One axis, outermost factor first; empty for a length of 1."""

AtomAxes = tuple[Factors, ...]
"""All axes of a tensor."""


def fresh(length: int, why: str = "") -> Factors:
    """A new axis about which nothing else is known."""
    return (Atom(length, why),) if length != 1 else ()


def leaves(factors: Iterable[Atom]) -> list[Atom]:
    """The leaves of several factors."""
    return list(itertools.chain.from_iterable(atom.leaves() for atom in factors))


def fix(factors: Iterable[Atom], why: str) -> None:
    """Record why an axis can't change, unless there is a reason already."""
    for atom in leaves(factors):
        atom.why = atom.why or why


def is_fixed(factors: Iterable[Atom]) -> bool:
    """Whether no factor of an axis can change."""
    return all(atom.why for atom in leaves(factors))


def size_of(factors: Iterable[Atom]) -> int:
    """An axis's length."""
    size = 1
    for atom in factors:
        size *= atom.length
    return size


def unify(one: Iterable[Atom], other: Iterable[Atom], why: str) -> None:
    """Record that two axes are equal, unit by unit; factors that straddle each other can't change: `why`."""
    left, right = leaves(one), leaves(other)
    while left and right:
        a, b = left[0], right[0]
        if a is b or a.length == b.length:
            if a is not b:
                a.join(b)
            left, right = leaves(left[1:]), leaves(right[1:])
            continue
        long, short = (a, b) if a.length > b.length else (b, a)
        if long.length % short.length:
            break
        long.split(short.length)
        left, right = leaves(left), leaves(right)
    fix([*left, *right], why)


def regroup(axes: Sequence[Iterable[Atom]], lengths: Sequence[int], why: str) -> list[Factors]:
    """The axes of these lengths after a reshape of `axes`; factors that straddle them can't change: `why`."""
    pending = leaves(itertools.chain.from_iterable(axes))
    found: list[Factors] = []
    while len(found) < len(lengths):
        taken = _take(pending, lengths[len(found)])
        if taken is not None:
            found.append(taken)
            pending = leaves(pending[len(taken) :]) if taken else pending
            continue
        inside, whole, count = [pending[0]], lengths[len(found)], 1
        while (have := size_of(inside)) != whole:
            if have < whole:
                inside.append(pending[len(inside)])
            else:
                whole *= lengths[len(found) + count]
                count += 1
        fix(inside, why)
        pending = pending[len(inside) :]
        found += [fresh(length, why) for length in lengths[len(found) : len(found) + count]]
    return found


def _take(pending: list[Atom], length: int) -> Factors | None:
    """The first atoms whose product is `length`, the last of them split if needed; None if that is impossible."""
    taken: list[Atom] = []
    while length > 1:
        pending[:] = leaves(pending)
        atom = pending[len(taken)]
        if length % atom.length == 0:
            taken.append(atom)
            length //= atom.length
        elif atom.length % length == 0:
            atom.split(length)
        else:
            return None
    return tuple(taken)
