"""Diagnosis by size of subnet (rung): how often each is trained, and how well gradients agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elastic import Arch, Supernet

RUNGS = 8
"""Number of rungs: equal parts of the range of MACs from the smallest subnet to the largest."""


class Ladder:
    """Sorts a supernet's subnets into `RUNGS` rungs by their MACs."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        space = self.supernet.space
        low, high = self.supernet.macs([space.smallest, space.largest]).tolist()
        return np.linspace(low, high, RUNGS + 1)[1:-1]

    def rungs(self, archs: Sequence[Arch]) -> list[int]:
        """The rung of each arch, from 0 for the smallest to `RUNGS` − 1 for the largest."""
        found: list[int] = np.searchsorted(self._edges, self.supernet.macs(archs), side="right").tolist()
        return found


class GradientCosines:
    """Collects, over one step, the cosine between the first subnet's gradient and each other's.

    It is taken over the weights that both have; a copy of all gradients is kept meanwhile.
    """

    def __init__(self) -> None:
        self._before: list[Tensor | None] = []
        self._first: list[Tensor] | None = None
        self.values: list[Tensor] = []
        """For the second, third, … subnet of the step: a scalar between −1 and 1 on the device."""

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """Remember each `.grad` as it is before a backward pass."""
        self._before = [None if p.grad is None else p.grad.clone() for p in parameters]

    def observe(self, parameters: Sequence[nn.Parameter]) -> None:
        """Take in the gradient that the backward pass since `begin` has added to `.grad`."""
        own = [_added(parameter, former) for parameter, former in zip(parameters, self._before, strict=True)]
        self._before = []
        if self._first is None:
            self._first = own
        else:
            self.values.append(_cosine(self._first, own))

    def by_rung(self, rungs: Sequence[int]) -> dict[int, Tensor]:
        """Mean cosine per rung. `rungs`: the rung of each subnet of the step, the first included."""
        grouped: dict[int, list[Tensor]] = {}
        for rung, value in zip(rungs[1:], self.values, strict=True):
            grouped.setdefault(rung, []).append(value)
        return {rung: torch.stack(values).mean() for rung, values in sorted(grouped.items())}


def _added(parameter: nn.Parameter, former: Tensor | None) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad.clone() if former is None else parameter.grad - former


def _cosine(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Over the entries where neither is zero: those of weights that only one of the subnets has don't count."""
    product, squares = one[0].new_zeros(()), one[0].new_zeros(2)
    for a, b in zip(one, other, strict=True):
        a, b = a.float(), b.float()  # noqa: PLW2901
        product = product + (a * b).sum()
        squares = squares + torch.stack([(a * (b != 0)).square().sum(), (b * (a != 0)).square().sum()])
    return product / (squares[0] * squares[1]).sqrt().clamp_min(1e-20)
