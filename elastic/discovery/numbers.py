"""Integers that remember their origin: a module's attribute, or an axis of a tensor.

`x.reshape(B, N, 3, self.num_heads, C // self.num_heads)` says that the length of one axis is an attribute, and that of
another a quotient. `TrackedInt` carries this through a model's code, and `Equations` works out which attribute restates
which axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from elastic.discovery.atoms import Atom, Factors, fix, is_fixed, leaves, size_of, unify


@dataclass(frozen=True)
class Attribute:
    """A plain number of a module.

    Attributes:
        path: the module.
        name: the attribute.
        index: position in the attribute, if that is a tuple of numbers.
    """

    path: str
    name: str
    index: int | None = None


Operand = Attribute | Factors


class TrackedInt(int):
    """An int that is a quotient of two products of operands."""

    over: tuple[Operand, ...]
    under: tuple[Operand, ...]

    def __new__(cls, value: int, over: tuple[Operand, ...] = (), under: tuple[Operand, ...] = ()) -> TrackedInt:
        """The number `value` = product of `over` / product of `under`."""
        number = super().__new__(cls, value)
        number.over, number.under = over, under
        return number

    def __hash__(self) -> int:
        """Another one for each object: caches for plain numbers in the model's code neither serve nor keep it."""
        return object.__hash__(self)

    def __mul__(self, other: Any) -> Any:
        if type(other) is int:
            return TrackedInt(int(self) * other, (*self.over, *_literal(other)), self.under)
        if isinstance(other, TrackedInt):
            return TrackedInt(int(self) * int(other), self.over + other.over, self.under + other.under)
        return int(self).__mul__(other)

    def __rmul__(self, other: Any) -> Any:
        if type(other) is int:
            return TrackedInt(int(self) * other, (*_literal(other), *self.over), self.under)
        return int(self).__rmul__(other)

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and not isinstance(other, bool) and other > 0 and int(self) % int(other) == 0:
            over, under = (other.over, other.under) if isinstance(other, TrackedInt) else (_literal(other), ())
            return TrackedInt(int(self) // int(other), self.over + under, self.under + over)
        return int(self).__floordiv__(other)


def _literal(number: int) -> tuple[Factors, ...]:
    return ((Atom(number, "a number in its code"),),) if number > 1 else ()


class Equations:
    """Equations between numbers in the code and lengths of axes."""

    def __init__(self) -> None:
        self.attributes: dict[Attribute, Factors] = {}
        self._open: list[tuple[TrackedInt, Factors, str]] = []

    def add(self, number: int, axis: Factors, why: str) -> None:
        """Record that the code made an axis of this length; a literal length can't change: `why`."""
        if not axis:
            return
        if not isinstance(number, TrackedInt):
            fix(axis, why)
        elif len(number.over) == 1 and not number.under and isinstance(number.over[0], Attribute):
            known = self.attributes.setdefault(number.over[0], axis)
            unify(known, axis, why)
        else:
            self._open.append((number, axis, why))

    def solve(self) -> None:
        """Unify axes by the compound numbers; axes that stay unclear can't change."""
        for number, axis, why in self._open:
            self._infer(number, axis)
            over, under = self._factors(number.over), self._factors(number.under)
            if over is None or under is None or size_of(over) != size_of((*under, *axis)):
                if not is_fixed(axis):
                    fix((*axis, *(over or ()), *(under or ())), why)
            else:
                unify(over, (*under, *axis), why)
        self._open.clear()

    def _infer(self, number: TrackedInt, axis: Factors) -> None:
        """If an attribute never equals an axis, but `attribute // k` does, take it as k × that axis."""
        under = self._factors(number.under)
        if len(number.over) == 1 and isinstance(number.over[0], Attribute) and under is not None:
            self.attributes.setdefault(number.over[0], (*under, *axis))

    def _factors(self, terms: Iterable[Operand]) -> Factors | None:
        """The atoms of a product; None if it has an attribute that never equals an axis."""
        found: list[Atom] = []
        for term in terms:
            factors = self.attributes.get(term) if isinstance(term, Attribute) else term
            if factors is None:
                return None
            found += leaves(factors)
        return tuple(found)


_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.PReLU, *_NORMS)
"""Layers whose numbers already follow the layout of their weight."""


def tracked_attributes(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any, Any]]:
    """(module, attribute, value, tracked value) of each plain number, or tuple of numbers, of a model's modules."""
    for path, module in model.named_modules():
        if isinstance(module, _LAYERS):
            continue
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            if _is_size(value):
                yield module, name, value, TrackedInt(value, (Attribute(path, name),))
            elif type(value) in (tuple, list) and all(type(one) is int for one in value) and any(map(_is_size, value)):
                parts = enumerate(value)
                numbers = [TrackedInt(one, (Attribute(path, name, at),)) if _is_size(one) else one for at, one in parts]
                yield module, name, value, type(value)(numbers)


def _is_size(value: object) -> bool:
    return type(value) is int and value > 1
