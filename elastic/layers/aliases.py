"""Aliases: the active slices as tensors of their own, so that a step runs the extracted model's operators only.

Slicing a parameter in every forward pass costs operators, and each slice's backward more: it pads the gradient
to full size. An alias is made once per parameter and size instead: a leaf tensor that shares the slice's memory,
and whose `.grad` is the same slice of the parameter's `.grad`. Everything else (optimisers, clipping, checkpoints)
sees ordinary parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from elastic.layers.slicing import Axes

LAYOUT_WARNING = "grad and param do not obey the gradient layout contract"
"""Torch says so, once, of the first gradient that is added to a slice of columns: it is right, and wanted."""


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
        """Whether the stored tensor still lives where it did, and trains as it did."""
        return self._pointer == self.source.data_ptr() and self.tensor.requires_grad == self.source.requires_grad

    @property
    def linked(self) -> bool:
        """Whether it has been read, so that a backward pass may want its gradient."""
        return self._gradient is not None

    def link(self) -> None:
        """Let the slice's gradient be a part of the full one, which is made if there is none."""
        source = self.source
        if source.grad is None:
            source.grad = torch.zeros_like(source)
        if self._gradient is not source.grad:
            self._gradient = source.grad
            self.tensor.grad = source.grad[self.windows]


def link_before_backward(output: Any, aliases: Iterable[Alias]) -> None:
    """Link `aliases` again when a backward pass from `output` begins: gradients may be set to None before it."""
    linked = [alias for alias in aliases if alias.linked]

    def link(gradient: Tensor) -> None:
        for alias in linked:
            alias.link()

    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            leaf.register_hook(link)


class Aliases:
    """The aliases of one layout entry at one tensor, one per combination of sizes that has been active.

    Attributes:
        current: the one of the active sizes; None where the stored tensor is to be sliced.
    """

    def __init__(self) -> None:
        self.current: Alias | None = None
        self._made: dict[Any, Alias] = {}

    def activate(self, stored: Tensor, axes: Axes) -> None:
        """Make the alias of the slice of `stored` that `axes` have active the current one."""
        key = tuple([size.value for size in axes.sizes])
        alias = self._made.get(key)
        if alias is None or alias.source is not stored or not alias.valid:
            alias = self._made[key] = Alias(stored, axes.windows())
        self.current = alias

    def clear(self) -> None:
        """Forget every alias: the stored tensor is sliced again."""
        self._made.clear()
        self.current = None

    def get(self, stored: Tensor) -> Tensor | None:
        """The current alias of `stored`; None if there is none, or if another tensor has taken its place."""
        current = self.current
        if current is None or current.source is not stored:
            return None
        if current.tensor.requires_grad:
            current.link()
        return current.tensor

    def __reduce__(self) -> tuple[type[Aliases], tuple[()]]:
        """Copies and pickles start without aliases: they have other memory."""
        return Aliases, ()
