"""The active part of a tensor for compiled code: gathered index by index instead of sliced.

A slice is contiguous only if it is the whole tensor, so a compiler that sees slices makes a graph for each combination
of full and narrow sizes. Gathering always gives a new tensor, so one graph serves all sizes. The backward pass gathers
as well, which needs no atomic additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Window = tuple[int, int, int]
"""A factor's full length, the first active index, and the number of active indices."""

Windows = Sequence[Sequence[Window]]
"""One list per tensor axis: the windows of its factors, outermost first; empty for an axis that stays whole."""


def gather(tensor: Tensor, windows: Windows) -> Tensor:
    """Gather the windows of the full-size `tensor` into a new tensor, differentiable in the full one."""
    gathered: Tensor = _Gather.apply(tensor, windows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, windows: Windows) -> Tensor:
        ctx.windows = windows
        for at, axis in enumerate(windows):
            if axis:
                tensor = tensor.index_select(at, _stored_places(axis, tensor.device))
        return tensor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        for at, axis in enumerate(ctx.windows):
            if axis:
                places, active = _active_places(axis, gradient.device)
                active = active.view([-1 if other == at else 1 for other in range(gradient.ndim)])
                gradient = torch.where(active, gradient.index_select(at, places), 0.0)
        return gradient, None


def _stored_places(axis: Sequence[Window], device: torch.device) -> Tensor:
    """The index in the full axis of each active unit: int64 `(active,)`."""
    length = 1
    for _, _, active in axis:
        length = length * active
    rest = torch.arange(length, device=device)
    if len(axis) == 1:  # the usual case, in fewer operators
        return rest + axis[0][1]
    place, stride = torch.zeros_like(rest), 1
    for full, start, active in reversed(axis):
        place = place + (rest % active + start) * stride
        rest, stride = rest // active, stride * full
    return place


def _active_places(axis: Sequence[Window], device: torch.device) -> tuple[Tensor, Tensor]:
    """For each unit of the full axis its index in the active one, int64 `(full,)`, and whether it is active, bool."""
    length = 1
    for full, _, _ in axis:
        length = length * full
    rest = torch.arange(length, device=device)
    inside, place, stride = torch.ones_like(rest, dtype=torch.bool), torch.zeros_like(rest), 1
    for full, start, active in reversed(axis):
        digit = rest % full - start if len(axis) > 1 else rest - start
        inside = inside & (digit >= 0) & (digit < active)
        place = place + digit.clamp(0, active - 1) * stride
        rest, stride = rest // full, stride * active
    return place, inside
