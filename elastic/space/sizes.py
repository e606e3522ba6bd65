"""Sizes: the named lengths that a layout speaks of.

A `Size` is the live cell that layers read (`embed`, `heads.3`, `depth.1`); whoever shares a size holds the
same cell, so that setting it once moves everything. A `Derived` is the formula of a size that follows from
others (`make_divisible(mid / 4)`), a `Lookup` the table of one that follows another's choice: data, never a
closure, so that copies, pickles and checkpoints work, and the same formula serves one subnet (ints) and a million
of them (arrays).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, Literal

import numpy as np

Keep = Literal["prefix", "ordered", "centre", "spread", "transform"]
"""Which of a size's full indices stay: the first ones (`"ordered"`: whose order has a meaning, so that sorting
leaves them alone), the middle ones, evenly spread ones; or all of them, for the layout entry's transform to make
the active ones of."""

Number = int | float


class Size:
    """A named length: `full` is the original model's, `value` the active subnet's.

    A plain object on purpose: compiled code reads `value` as a dynamic integer.
    """

    __slots__ = ("full", "keep", "name", "value")

    def __init__(self, name: str, full: int, keep: Keep = "prefix") -> None:
        self.name = name
        self.full = full
        self.value = full
        self.keep: Keep = keep

    @property
    def is_width(self) -> bool:
        """Whether it counts units (channels, heads, groups) of which a subnet keeps the first ones."""
        return self.keep in ("prefix", "ordered")

    def __repr__(self) -> str:
        return f"Size({self.name}={self.value}/{self.full})"


def kept_indices(full: int, value: int, keep: Keep) -> list[int]:
    """The indices, out of `range(full)`, that a size of `value` keeps.

    `"prefix"` is Once-for-All's depth and every width, `"centre"` its kernels, `"spread"` DynaBERT's depth
    (`floor(i / m_d)` with `m_d = value / full`).
    """
    if keep == "centre":
        start = (full - value) // 2
        return list(range(start, start + value))
    if keep == "spread":
        return [i * full // value for i in range(value)]
    return list(range(value))


def make_divisible(value: Any, divisor: int) -> Any:
    """Round to a multiple of `divisor`, never more than 10 % down (the MobileNet rule); ints or int64 arrays."""
    rounded = np.maximum(divisor, np.floor(value + divisor / 2).astype(np.int64) // divisor * divisor)
    return rounded + divisor * (rounded < 0.9 * value)


@dataclass(frozen=True)
class Derived:
    """A size that follows from others: `make_divisible(round(product(parts) * ratio), divisor) + plus`.

    Attributes:
        parts: names of the sizes (or of ratio-valued dims) that are multiplied.
        ratio: constant factor.
        divisor: the result is rounded to a multiple of it; 1 leaves it alone.
        plus: constant added last (for example a ViT's class token, on top of its patches).
        keep: which indices of the full length stay.
    """

    parts: tuple[str, ...]
    ratio: Fraction = Fraction(1)
    divisor: int = 1
    plus: int = 0
    keep: Keep = "prefix"

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The size where its parts have these values: an int, or an int64 array where they are arrays."""
        product: Any = 1
        for part in self.parts:
            product = product * values[part]
        exact = np.rint(product * self.ratio.numerator / self.ratio.denominator)
        size = make_divisible(exact, self.divisor) if self.divisor > 1 else exact
        size = np.asarray(size + self.plus).astype(np.int64)
        return size if size.ndim else int(size)


@dataclass(frozen=True)
class Lookup:
    """A size that follows another's choice (`elastic.space.coupling`).

    Attributes:
        part: name of the size (or of the ratio-valued dim) that it follows.
        table: (its choice, this size) pairs, ascending.
    """

    part: str
    table: tuple[tuple[Number, Number], ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The name it follows, as a tuple, like the parts of a formula."""
        return (self.part,)

    @property
    def values(self) -> tuple[Number, ...]:
        """Possible values of the size, ascending."""
        return tuple(sorted({value for _, value in self.table}))

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The size where its part has this value: a number, or an array where it is one."""
        given = values[self.part]
        if not isinstance(given, np.ndarray):
            return dict(self.table)[given]
        choices, sizes = (np.array(column) for column in zip(*self.table, strict=True))
        return sizes[np.searchsorted(choices, given)]


@dataclass(frozen=True)
class DimRule:
    """The rule by which a recipe makes one kind of size (`heads`, `mid`, `depth` …) a dim.

    Attributes:
        choices: floats are fractions of the full size, ints are sizes. What exceeds the full size is left
            out; the full size itself is always a choice, so that the largest subnet is the original model.
        multiple: fractions are rounded to a multiple of this.
        keep: which indices of the full size stay.
        counted: False for what changes the input and not the network (resolution).
        ratio: the choices are ratios that a `Derived` size multiplies, taken as they are.
    """

    choices: tuple[Number, ...] = (0.5, 0.75, 1.0)
    multiple: int = 1
    keep: Keep = "prefix"
    counted: bool = True
    ratio: bool = False

    def resolve(self, full: int) -> tuple[Number, ...]:
        """The values on offer where the original model has `full`, ascending."""
        if self.ratio:
            return tuple(sorted(set(self.choices)))
        sizes = {full}
        for choice in self.choices:
            size = choice if isinstance(choice, int) else self._round(choice * full)
            if 0 < size < full or (size == 0 and isinstance(choice, int)):
                sizes.add(int(size))
        return tuple(sorted(sizes))

    def _round(self, size: float) -> int:
        if self.multiple > 1:
            return int(make_divisible(size, self.multiple))
        return int(np.ceil(size - 1e-9))


def for_name(key: str, name: str) -> bool:
    """Whether `key` (a kind, a whole name, or a glob) covers the dim `name`."""
    return key == name or key == name.split(".")[0] or fnmatchcase(name, key)


WIDTH = DimRule((0.5, 0.75, 1.0), multiple=8)


PART = DimRule((0.5, 0.75, 1.0))
"""Of what has no preferred multiple: groups and depths."""


KERNEL = DimRule((3, 5, 7), keep="centre")
