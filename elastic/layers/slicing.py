"""The slicing rule, written once: activation, extraction, sorting and parameter counts all use it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from elastic.layers.gathering import Window, gather
from elastic.space.sizes import Size


class TensorAxis:
    """One tensor axis as a product of factors, outermost first; a factor is a fixed length or a `Size`."""

    __slots__ = ("factors", "full")

    def __init__(self, factors: Sequence[int | Size]) -> None:
        self.factors = tuple(factors)
        self.full = 1
        for factor in self.factors:
            self.full *= factor if isinstance(factor, int) else factor.full

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorAxis:
        """The same axis of the copied sizes; much faster than slot by slot."""
        return TensorAxis([copy.deepcopy(factor, memo) for factor in self.factors])

    @property
    def sizes(self) -> list[Size]:
        """The named sizes of this axis."""
        return [factor for factor in self.factors if isinstance(factor, Size)]

    @property
    def value(self) -> int:
        """The active length."""
        length = 1
        for factor in self.factors:
            length = length * (factor if isinstance(factor, int) else factor.value)
        return length

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The length for these values of the sizes: an int, or an int64 array if the values are arrays."""
        length: Any = 1
        for factor in self.factors:
            length = length * (factor if isinstance(factor, int) else values[factor.name])
        return length


def _window(factor: int | Size) -> Window:
    if isinstance(factor, int):
        return factor, 0, factor
    if factor.keep == "transform":
        return factor.full, 0, factor.full
    return factor.full, (factor.full - factor.value) // 2 if factor.keep == "centre" else 0, factor.value


class TensorAxes:
    """All axes of one tensor.

    Attributes:
        axes: one `TensorAxis` per tensor axis.
        sizes: the named sizes of the tensor, one entry per occurrence.
        split: the tensor's full shape with one axis per factor; None if every axis has one factor.
        plain: whether one slice per tensor axis gives the active part: all factors after the first are fixed, as in
            `(heads 64)`.
    """

    __slots__ = ("axes", "factors", "plain", "sizes", "split")

    def __init__(self, axes: Sequence[TensorAxis]) -> None:
        self.axes = tuple(axes)
        self.factors = tuple(factor for axis in self.axes for factor in axis.factors)
        self.sizes = [factor for factor in self.factors if isinstance(factor, Size)]
        full = tuple(factor if isinstance(factor, int) else factor.full for factor in self.factors)
        self.split = None if len(full) == len(self.axes) else full
        self.plain = all(isinstance(factor, int) for axis in self.axes for factor in axis.factors[1:])

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorAxes:
        """The same axes of the copied sizes."""
        return TensorAxes([copy.deepcopy(axis, memo) for axis in self.axes])

    def windows(self) -> tuple[slice, ...]:
        """The active part: one slice per tensor axis if the axes are plain, else one per factor."""
        if not self.plain:
            windows = [_window(factor) for factor in self.factors]
            return tuple([slice(start, start + length) for _, start, length in windows])
        slices = []
        for axis in self.axes:
            full, start, length = _window(axis.factors[0])
            each = axis.full // full
            slices.append(slice(start * each, (start + length) * each))
        return tuple(slices)

    def take(self, tensor: Tensor) -> Tensor:
        """The active part of the full-size `tensor`: a differentiable view, or a copy if the factors need one."""
        if torch.compiler.is_compiling():
            return self._take_compiled(tensor)
        windows = self.windows()
        if self.plain:
            return tensor[windows]
        assert self.split is not None  # an axis that isn't plain has several factors
        part = tensor.reshape(self.split)[windows]
        shape, at = [], 0
        for axis in self.axes:  # "transform" factors are still at full size here, so lengths come from the tensor
            length = 1
            for _ in axis.factors:
                length = length * part.shape[at]
                at += 1
            shape.append(length)
        return part.reshape(shape)

    def put(self, tensor: Tensor, values: Tensor) -> None:
        """Write the active part of the full-size `tensor`, in place."""
        part = (tensor if self.plain or self.split is None else tensor.view(self.split))[self.windows()]
        part.copy_(values.reshape(part.shape))

    def _take_compiled(self, tensor: Tensor) -> Tensor:
        """`take` for compiled code, which must not depend on whether a slice is contiguous."""
        first = self.factors[0]
        if isinstance(first, Size) and first.is_width and len(self.sizes) == 1:  # always contiguous, and a view:
            return tensor.narrow(0, 0, self.axes[0].value)  # running statistics are written through it
        return gather(tensor, [[_window(f) for f in axis.factors] if axis.sizes else [] for axis in self.axes])

    def permute(self, tensor: Tensor, orders: Mapping[str, Tensor]) -> Tensor:
        """`tensor` with the indices of every size named in `orders` reordered (int64, new → old)."""
        part = tensor.reshape(self.split) if self.split is not None else tensor
        for at, factor in enumerate(self.factors):
            if isinstance(factor, Size) and factor.name in orders:
                part = part.index_select(at, orders[factor.name].to(part.device))
        return part.reshape(tensor.shape)

    def reduce(self, tensor: Tensor, size: Size) -> Tensor:
        """Sum `tensor` over everything but `size`: shape `(size.full,)`."""
        part = tensor.reshape(self.split) if self.split is not None else tensor
        at = [index for index, factor in enumerate(self.factors) if factor is size]
        for index in reversed(at[1:]):  # a size that occurs twice (k × k) counts on its first axis
            part = part.sum(index)
        return part.movedim(at[0], 0).flatten(1).sum(1) if part.ndim > 1 else part

    def numel(self, values: Mapping[str, Any]) -> Any:
        """The number of active elements for these values of the sizes (int, or int64 array)."""
        count: Any = 1
        for axis in self.axes:
            count = count * axis.evaluate(values)
        return count
