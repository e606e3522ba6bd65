"""Aliases: the active slices as tensors of their own, so that a step runs the extracted model's operators only.

Slicing a parameter in every forward pass costs operators, and each slice's backward more: it pads the gradient
to full size. An alias is made once per parameter and size instead: it shares the parameter's memory, and its
gradient is added straight to the right part of the parameter's gradient. Everything else (optimisers, clipping,
checkpoints) sees ordinary parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from elastic.slicing import Axes


class Alias:
    """One active slice of one stored tensor.

    Attributes:
        source: the stored tensor.
        windows: the slice, one per axis.
        tensor: shares the slice's memory; its backward adds to the slice of the source's gradient.
    """

    __slots__ = ("_gradient", "_part", "_pointer", "source", "tensor", "windows")

    def __init__(self, source: Tensor, windows: tuple[slice, ...]) -> None:
        self.source = source
        self.windows = windows
        self._pointer = source.data_ptr()
        self._gradient: Tensor | None = None
        self._part: Tensor | None = None
        with torch.enable_grad():
            self.tensor: Tensor = _Share.apply(source, self)

    @property
    def valid(self) -> bool:
        """Whether the stored tensor still lives where it did, and trains as it did."""
        return self._pointer == self.source.data_ptr() and self.tensor.requires_grad == self.source.requires_grad

    def accumulate(self, gradient: Tensor) -> None:
        """Add a gradient of the slice to the full one, which is made if there is none."""
        if self.source.grad is None:
            self.source.grad = torch.zeros_like(self.source)
        if self._part is None or self._gradient is not self.source.grad:
            self._gradient = self.source.grad
            self._part = self._gradient[self.windows]
        self._part.add_(gradient)


class _Share(torch.autograd.Function):
    """Slice without a copy forward; backward, add in place instead of padding to full size.

    It saves no tensor, so one node serves any number of backward passes.
    """

    @staticmethod
    def forward(ctx: Any, source: Tensor, alias: Alias) -> Tensor:
        ctx.alias = alias
        # .data, not detach(): it has a version counter of its own, so that an optimiser may step between uses
        return source.data[alias.windows]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:
        ctx.alias.accumulate(gradient)
        return None, None


class Aliases:
    """The aliases of one layout entry at one tensor, one per combination of sizes that has been active."""

    def __init__(self) -> None:
        self._made: dict[Any, Alias] = {}
        self._current: Alias | None = None

    def activate(self, stored: Tensor, axes: Axes) -> None:
        """Make the alias of the slice of `stored` that `axes` have active the current one."""
        key = tuple([size.value for size in axes.sizes])
        alias = self._made.get(key)
        if alias is None or alias.source is not stored or not alias.valid:
            alias = self._made[key] = Alias(stored, axes.windows())
        self._current = alias

    def clear(self) -> None:
        """Forget every alias: the stored tensor is sliced again."""
        self._made.clear()
        self._current = None

    def get(self, stored: Tensor) -> Tensor | None:
        """The current alias of `stored`; None if there is none, or if another tensor has taken its place."""
        current = self._current
        return current.tensor if current is not None and current.source is stored else None

    def __reduce__(self) -> tuple[type[Aliases], tuple[()]]:
        """Copies and pickles start without aliases: they have other memory."""
        return Aliases, ()
