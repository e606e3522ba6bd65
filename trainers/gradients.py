"""What happens to a step's gradients between the last backward pass and the optimiser's step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed, nn


def fill_missing(parameters: Sequence[nn.Parameter]) -> None:
    """Zeros for the parameters that none of the step's subnets used: every rank then reduces the same list."""
    for parameter in parameters:
        if parameter.grad is None and parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def average_over_ranks(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its mean over all ranks, in one reduction; nothing to do in a single process."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def clip(parameters: Sequence[nn.Parameter], value: float | None, norm: float | None) -> None:
    """Clip each gradient entry to ±`value`, then all of them together to an L2 norm of `norm`; None: not at all."""
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)
