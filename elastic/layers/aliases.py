"""Aliases: active slices as leaf tensors, so that a training step runs the extracted model's operators only.

Slicing a parameter in every forward pass costs operators, and the backward pass of a slice costs more: it pads the
gradient to full size. Instead we make an alias once per parameter and size: a leaf tensor that shares the slice's
memory and whose `.grad` is the same slice of the parameter's `.grad`. Optimisers, clipping and checkpoints still see
ordinary parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from elastic.layers.slicing import TensorAxes

LAYOUT_WARNING = "grad and param do not obey the gradient layout contract"
"""PyTorch warns so, once, at the first gradient that is added to a slice of columns, which is what we want."""


class Alias:
    """One active slice of one stored tensor.

    Attributes:
        source: the stored tensor.
        windows: the slice, one per axis.
        tensor: a leaf that shares the slice's memory.
    """

    __slots__ = ("_gradient", "_pointer", "source", "tensor", "windows")

    def __init__(self, source: Tensor, windows: tuple[slice, ...]) -> None:
        self.source = source
        self.windows = windows
        self._pointer = source.data_ptr()
        self._gradient: Tensor | None = None
        # .data, not detach(): it has a version counter of its own, so that an optimiser may step between uses
        self.tensor = source.data[windows].requires_grad_(source.requires_grad)

    @property
    def valid(self) -> bool:
        """Whether the stored tensor still has the same memory and the same `requires_grad`."""
        return self._pointer == self.source.data_ptr() and self.tensor.requires_grad == self.source.requires_grad

    @property
    def linked(self) -> bool:
        """Whether the alias has been read, so that a backward pass may need its gradient."""
        return self._gradient is not None

    def link(self) -> None:
        """Make the slice's gradient a part of the full gradient, which is created if there is none."""
        source = self.source
        if source.grad is None:
            source.grad = torch.zeros_like(source)
        if self._gradient is not source.grad:
            self._gradient = source.grad
            self.tensor.grad = source.grad[self.windows]


def link_before_backward(output: Any, aliases: Iterable[Alias]) -> None:
    """Link `aliases` again when a backward pass from `output` begins, since gradients may have been set to None."""
    linked = [alias for alias in aliases if alias.linked]

    def link(gradient: Tensor) -> None:
        for alias in linked:
            alias.link()

    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            leaf.register_hook(link)


class Aliases:
    """The aliases of one tensor, one per combination of sizes that has been active.

    Attributes:
        current: the alias for the active sizes; None to slice the stored tensor instead.
    """

    def __init__(self) -> None:
        self.current: Alias | None = None
        self._by_sizes: dict[Any, Alias] = {}

    def activate(self, stored: Tensor, axes: TensorAxes) -> None:
        """Make the alias of the active slice of `stored` the current one."""
        key = tuple([size.value for size in axes.sizes])
        alias = self._by_sizes.get(key)
        if alias is None or alias.source is not stored or not alias.valid:
            alias = self._by_sizes[key] = Alias(stored, axes.windows())
        self.current = alias

    def clear(self) -> None:
        """Drop all aliases, so that the stored tensor is sliced again."""
        self._by_sizes.clear()
        self.current = None

    def get(self, stored: Tensor) -> Tensor | None:
        """The current alias of `stored`; None if there is none, or if another tensor has replaced `stored`."""
        current = self.current
        if current is None or current.source is not stored:
            return None
        if current.tensor.requires_grad:
            current.link()
        return current.tensor

    def __reduce__(self) -> tuple[type[Aliases], tuple[()]]:
        """Copies and pickles start without aliases, since their memory is another."""
        return Aliases, ()
