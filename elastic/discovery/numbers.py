"""Numbers that remember where they are from: a module's attribute, or an axis of a tensor.

`x.reshape(B, N, 3, self.num_heads, C // self.num_heads)` says that an axis has the length of an attribute, and another
a quotient. `Traced` numbers carry that through a model's code, and `Equations` work out which attribute restates which
axis.
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
        index: its place, where the attribute is a tuple of numbers.
    """

    path: str
    name: str
    index: int | None = None


Term = Attribute | Factors


class Traced(int):
    """An int that is a product of terms over a product of others."""

    over: tuple[Term, ...]
    under: tuple[Term, ...]

    def __new__(cls, value: int, over: tuple[Term, ...] = (), under: tuple[Term, ...] = ()) -> Traced:
        """The number `value`, and what it is made of."""
        made = super().__new__(cls, value)
        made.over, made.under = over, under
        return made

    def __mul__(self, other: Any) -> Any:
        if type(other) is int:
            return Traced(int(self) * other, (*self.over, *_literal(other)), self.under)
        if isinstance(other, Traced):
            return Traced(int(self) * int(other), self.over + other.over, self.under + other.under)
        return int(self).__mul__(other)

    def __rmul__(self, other: Any) -> Any:
        if type(other) is int:
            return Traced(int(self) * other, (*_literal(other), *self.over), self.under)
        return int(self).__rmul__(other)

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and not isinstance(other, bool) and other > 0 and int(self) % int(other) == 0:
            over, under = (other.over, other.under) if isinstance(other, Traced) else (_literal(other), ())
            return Traced(int(self) // int(other), self.over + under, self.under + over)
        return int(self).__floordiv__(other)


def _literal(number: int) -> tuple[Factors, ...]:
    return ((Atom(number, "its code says so"),),) if number > 1 else ()


class Equations:
    """What numbers in the code say about axes."""

    def __init__(self) -> None:
        self.attributes: dict[Attribute, Factors] = {}
        self._open: list[tuple[Traced, Factors, str]] = []

    def add(self, number: int, axis: Factors, why: str) -> None:
        """An axis was made with this length; a literal one can't change: `why`."""
        if not axis:
            return
        if not isinstance(number, Traced):
            fix(axis, why)
        elif len(number.over) == 1 and not number.under and isinstance(number.over[0], Attribute):
            known = self.attributes.setdefault(number.over[0], axis)
            unify(known, axis, why)
        else:
            self._open.append((number, axis, why))

    def solve(self) -> None:
        """Unify what the compound numbers say; what stays unclear can't change."""
        for number, axis, why in self._open:
            self._infer(number, axis)
            over, under = self._factors(number.over), self._factors(number.under)
            if over is None or under is None or size_of(over) != size_of((*under, *axis)):
                if not is_fixed(axis):
                    fix((*axis, *(over or ()), *(under or ())), why)
            else:
                unify(over, (*under, *axis), why)
        self._open.clear()

    def _infer(self, number: Traced, axis: Factors) -> None:
        """An attribute that is nowhere an axis of its own is what its quotient says: `x.split(self.width // 2)`."""
        under = self._factors(number.under)
        if len(number.over) == 1 and isinstance(number.over[0], Attribute) and under is not None:
            self.attributes.setdefault(number.over[0], (*under, *axis))

    def _factors(self, terms: Iterable[Term]) -> Factors | None:
        """The atoms of a product; None where an attribute is nowhere an axis of its own."""
        found: list[Atom] = []
        for term in terms:
            factors = self.attributes.get(term) if isinstance(term, Attribute) else term
            if factors is None:
                return None
            found += leaves(factors)
        return tuple(found)


_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, *_NORMS)
"""What has its numbers restated already, by the layout of its weight."""


def traced_attributes(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any, Any]]:
    """(module, attribute, value, traced value) of each plain number, or tuple of numbers, of a model's modules."""
    for path, module in model.named_modules():
        if isinstance(module, _LAYERS):
            continue
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            if _is_size(value):
                yield module, name, value, Traced(value, (Attribute(path, name),))
            elif type(value) in (tuple, list) and all(type(one) is int for one in value) and any(map(_is_size, value)):
                parts = enumerate(value)
                numbers = [Traced(one, (Attribute(path, name, at),)) if _is_size(one) else one for at, one in parts]
                yield module, name, value, type(value)(numbers)


def _is_size(value: object) -> bool:
    return type(value) is int and value > 1
