"""Processing of gradients between the last backward pass and the optimiser's step: reduction and clipping."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn


def world_size() -> int:
    """The number of processes that train together; 1 without a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def fill_missing(parameters: Sequence[nn.Parameter]) -> None:
    """Zeros for the parameters that none of the step's subnets used: every rank then reduces the same list."""
    for parameter in parameters:
        if parameter.grad is None and parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def average_over_ranks(gradients: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over all ranks, in one reduction; nothing to do in a single process.

    Args:
        gradients: on every rank the same number of them in the same shapes, on one device; of mixed dtypes they
            are reduced in the widest. One copy of all of them is made meanwhile.
    """
    ranks = world_size()
    if ranks == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    flat /= ranks  # before the sum, which could overflow in half precision
    distributed.all_reduce(flat)
    means = flat.split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def clip(parameters: Sequence[nn.Parameter], value: float | None, norm: float | None) -> None:
    """Clip each gradient entry to ±`value`, then all of them together to an L2 norm of `norm`; None: not at all."""
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)
