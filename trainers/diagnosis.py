"""How well the subnets of a step agree: the cosines between their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GradientCosines:
    """Collects, over one step, the cosine between the first subnet's gradient and each other's.

    It is taken over the weights that both have; a copy of all gradients is kept meanwhile.
    """

    def __init__(self) -> None:
        self._before: list[Tensor | None] | None = None
        self._first: list[Tensor] | None = None
        self.values: list[Tensor] = []
        """For the second, third, … subnet of the step: a scalar between −1 and 1 on the device."""

    def observe(self, parameters: Sequence[nn.Parameter]) -> None:
        """Take in the gradient that the last backward pass has added to `.grad`."""
        before = self._before or [None] * len(parameters)
        own = [_added(parameter, former) for parameter, former in zip(parameters, before, strict=True)]
        self._before = [None if p.grad is None else p.grad.clone() for p in parameters]
        if self._first is None:
            self._first = own
        else:
            self.values.append(_cosine(self._first, own))

    def forget(self) -> None:
        """The gradients have been taken out of `.grad`."""
        self._before = None


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
