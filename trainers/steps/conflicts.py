"""Projection of conflicting gradients: those of the largest subnet against the others'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elastic.errors import TrainingError


@dataclass(frozen=True)
class GradientProjection:
    """Removes what in the largest subnet's gradient conflicts with the others' (NASViT, Gong et al., ICLR 2022).

    With g_s the gradient of the largest subnet and g the sum of the others', its norm clipped, the step follows
    g_s + g + clip(−⟨g, g_s⟩ / ‖g‖², 0, limit) · g: where the two conflict, g_s loses its part along −g. g and g_s are
    those of all weights together, as vectors of one space: whether they conflict is asked once. NASViT's published code
    asks tensor by tensor, each with a product and a norm of its own, and clips the norm of g over all of them, as here.

    Attributes:
        after: the share of all steps that are trained without it first.
        norm: what the norm of g is clipped at.
        limit: the largest multiple of g that is added.
    """

    after: float = 0.25
    norm: float = 1.0
    limit: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.after <= 1 or self.norm <= 0 or self.limit <= 0:
            raise TrainingError(
                "GradientProjection: after is a share between 0 and 1, norm and limit are above 0; "
                f"got {self.after}, {self.norm} and {self.limit}"
            )

    def combine(self, parameters: Sequence[nn.Parameter], largest: Sequence[Tensor]) -> None:
        """Replace the others' gradients, in `.grad`, by the step's.

        Args:
            parameters: every one has a `.grad`, of its own shape, float.
            largest: for each, the largest subnet's gradient.
        """
        others = [parameter.grad for parameter in parameters if parameter.grad is not None]
        square = torch.stack([gradient.float().square().sum() for gradient in others]).sum()
        shrink = (self.norm / (square.sqrt() + 1e-6)).clamp(max=1.0)
        product = torch.stack([(g.float() * s.float()).sum() for g, s in zip(others, largest, strict=True)]).sum()
        # ⟨cg, g_s⟩ / ‖cg‖² is ⟨g, g_s⟩ / (c ‖g‖²); where g is zero, so is the product
        along = (-product / (shrink * square + 1e-12)).clamp(0.0, self.limit)
        for gradient, own in zip(others, largest, strict=True):
            gradient.mul_(shrink * (1 + along)).add_(own)


@contextmanager
def gradients_apart(parameters: Sequence[nn.Parameter], into: Sequence[Tensor]) -> Iterator[None]:
    """Within the block, backward passes add to `into`; behind it, every `.grad` is as it was before.

    Args:
        parameters: those whose gradients are kept apart.
        into: for each, a tensor of its shape and dtype on its device.
    """
    others = [parameter.grad for parameter in parameters]
    for parameter, own in zip(parameters, into, strict=True):
        parameter.grad = own
    try:
        yield
    finally:
        for parameter, other in zip(parameters, others, strict=True):
            parameter.grad = other
