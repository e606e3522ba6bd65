"""Shapes in a model's code: which lengths it reads off tensors, and which it gives to those that it makes."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from elastic.discovery.atoms import AtomAxes, fresh, is_fixed
from elastic.discovery.numbers import Equations, TrackedInt


class Watching(Protocol):
    """Facts about tensors, and the place where code runs."""

    @property
    def where(self) -> str:
        """The running module, for messages."""

    def of(self, tensor: Tensor) -> AtomAxes:
        """The axes of a tensor."""

    def put(self, tensor: Tensor, axes: AtomAxes) -> None:
        """Record the axes of a tensor."""


_RESHAPES = {"view", "reshape", "expand", "_unsafe_view"}
_MAKES = {"zeros", "ones", "empty", "full", "rand", "randn", "new_zeros", "new_ones", "new_empty", "new_full"}


class ShapesInCode(TorchFunctionMode):
    """Observes how the model's code reads the shapes of tensors, and which shapes it makes."""

    def __init__(self, watcher: Watching, equations: Equations) -> None:
        super().__init__()
        self.watcher = watcher
        self.equations = equations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if isinstance(out, torch.Size):
            return torch.Size([self._tracked(args[0], at, length) for at, length in enumerate(out)])
        if name == "size" and type(out) is int:
            return self._tracked(args[0], args[1] if len(args) > 1 else kwargs["dim"], out)
        if name in _MAKES and isinstance(out, Tensor):
            self._made(args[1:] if name.startswith("new_") else args, kwargs, out)
        elif name in _RESHAPES and isinstance(out, Tensor):
            self._reshaped(name, args, kwargs, out)
        elif name == "unflatten" and isinstance(out, Tensor):
            dim, sizes = args[1] % args[0].ndim, list(args[2] if len(args) > 2 else kwargs["sizes"])
            self._sized(out, dict(enumerate(sizes, dim)))
        elif name in ("split", "split_with_sizes"):
            self._split(args, kwargs, out)
        return out

    def _tracked(self, tensor: Tensor, at: int, length: int) -> int:
        axis = self.watcher.of(tensor)[at]
        return length if is_fixed(axis) else TrackedInt(length, (axis,))

    def _made(self, args: Any, kwargs: Any, out: Tensor) -> None:
        """A tensor made in the code, such as a first state: lengths that a module's numbers say may change."""
        sizes: Any = kwargs.get("size", args)
        if len(sizes) and isinstance(sizes[0], (tuple, list)):
            sizes = sizes[0]
        pairs = [*zip(sizes, out.shape, strict=False)]
        if len(pairs) != out.ndim or not any(isinstance(size, TrackedInt) for size, _ in pairs):
            return
        why = f"a tensor made in the code of {self.watcher.where}"
        axes = tuple(fresh(n, "" if isinstance(size, TrackedInt) else why) for size, n in pairs)
        self.watcher.put(out, axes)
        self._sized(out, dict(enumerate(sizes)))

    def _reshaped(self, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
        sizes: Any = args[1:] or next(iter(kwargs.values()), ())
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = sizes[0]
        if not all(isinstance(size, int) for size in sizes):
            return  # a view as another dtype
        before = [1] * (out.ndim - args[0].ndim) + list(args[0].shape)
        pairs = enumerate(zip(before, list(out.shape), strict=False))
        known = {at for at, (was, is_now) in pairs if name == "expand" and was == is_now}
        self._sized(out, {at: size for at, size in enumerate(sizes) if at not in known})

    def _sized(self, out: Tensor, sizes: dict[int, int]) -> None:
        axes = self.watcher.of(out)
        for at, size in sizes.items():
            if size > 1 and not is_fixed(axes[at]):
                why = f"{self.watcher.where} says {int(size)} in its code"
                self.equations.add(size, axes[at], why)

    def _split(self, args: Any, kwargs: Any, out: Any) -> None:
        sizes = args[1] if len(args) > 1 else next(iter(kwargs.values()))
        dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
        for at, part in enumerate(out):
            size = sizes[at] if isinstance(sizes, (tuple, list)) else sizes
            if part.shape[dim] == size:
                self._sized(part, {dim % part.ndim: size})
