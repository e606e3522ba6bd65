"""The active part of a tensor for compiled code: gathered index by index instead of sliced.

A slice is contiguous where it happens to be the whole tensor and nowhere else; a compiler that sees slices makes a
graph for each combination of full and narrow sizes. What is gathered is a fresh tensor whatever the sizes are, so
that one graph serves them all. Its backward pass gathers, too: it needs no atomic additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Window = tuple[int, int, int]
"""A factor's full length, the first index that is active, and how many are."""

Windows = Sequence[Sequence[Window]]
"""For each tensor axis those of its factors, outermost first; none for an axis that stays whole."""


def gather(tensor: Tensor, windows: Windows) -> Tensor:
    """The windows of the full-size `tensor` as a new tensor, differentiable in the full one."""
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
    """Where each active unit of an axis is in the full one: int64 `(active,)`."""
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
    """Where each unit of the full axis is in the active one, int64 `(full,)`; and whether it is there at all."""
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
