"""Sizes coded as numbers, so that any product of them, times a constant, can be factored back into the sizes.

Each size that can change is given a prime of its own, times whatever divides all its choices (a GroupNorm's groups
divide its channels in every subnet). One forward pass on tensors with such axes, without data, then shows how every
buffer and every operator grows with the sizes: its bytes or multiply-accumulates are factorised.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from elastic.layout.layout import Layout, free_dims

_FIRST = 1019  # above the side of any input in patches; 3 modulo 4


@dataclass(frozen=True)
class CodedSizes:
    """A code number for each size that can change.

    Attributes:
        primes: by size name, a prime.
        units: by size name, the greatest common divisor of its choices.
    """

    primes: Mapping[str, int]
    units: Mapping[str, int]

    def __getitem__(self, size: str) -> int:
        """The code number of a size."""
        return self.primes[size] * self.units[size]

    def read(self, number: int) -> tuple[tuple[str, ...], int] | None:
        """The sizes that a number is a product of, as often as they occur, and the constant; None if it isn't one."""
        sizes = []
        for name, prime in self.primes.items():
            while number % prime == 0:
                number, rest = divmod(number, self[name])
                if rest:
                    return None
                sizes.append(name)
        return tuple(sizes), number

    def renamed(self, number: int, names: Mapping[str, str]) -> int:
        """A number with some sizes replaced by others; the number itself where none of them is a factor."""
        made = 1
        for name, other in names.items():
            while number and number % self.primes[name] == 0 and number % self[name] == 0:
                number, made = number // self[name], made * self[other]
        return number * made

    def largest(self, length: int, full: Mapping[str, int]) -> int:
        """A coded length in the largest subnet, whose sizes are `full`; the length itself if it isn't coded."""
        found = self.read(length)
        return length if found is None else math.prod((full[name] for name in found[0]), start=found[1])


def code_sizes(model: nn.Module, layout: Layout, fixed: frozenset[str]) -> CodedSizes:
    """Code numbers for all widths with several choices that don't depend on a fixed dim.

    Args:
        model: whose tensors' fixed lengths are no multiples of the primes.
        layout: its layout, without coupled dims.
        fixed: names of dims that keep their values.
    """
    choices = {dim.name: np.array(dim.choices) for dim in layout.dims}
    units = {}
    for name, size in layout.sizes.items():
        if size.is_width and not fixed & {name, *free_dims(name, layout.derived)}:
            lengths = _lengths(name, layout, choices)
            if len(np.unique(lengths)) > 1:
                units[name] = int(np.gcd.reduce(lengths))
    taken = {length for tensor in (*model.parameters(), *model.buffers()) for length in tensor.shape}
    return CodedSizes(dict(zip(units, _primes(taken), strict=False)), units)


def _lengths(name: str, layout: Layout, choices: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The lengths that a size can have; some more than once."""
    formula = layout.derived.get(name)
    if formula is None:
        return choices[name] if name in choices else np.array([layout.sizes[name].full])
    parts = dict.fromkeys(formula.parts)
    grids = np.meshgrid(*(_lengths(part, layout, choices) for part in parts), indexing="ij")
    lengths: NDArray[Any] = formula.evaluate({part: grid.ravel() for part, grid in zip(parts, grids, strict=True)})
    return lengths


def _primes(taken: Collection[int]) -> Iterator[int]:
    """Primes that divide none of these lengths; 3 modulo 4, so that they divide no number of patches plus a token."""
    for number in itertools.count(_FIRST, 4):
        prime = all(number % factor for factor in range(3, math.isqrt(number) + 1, 2))
        if prime and all(length % number for length in taken):
            yield number
