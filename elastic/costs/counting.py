"""MACs of single operators: PyTorch's own counts, and those of products of experts, which it doesn't count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.backends import mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_GROUPED = getattr(torch.ops.aten, "_grouped_mm", None)
"""Tokens `(M, K)`, sorted by expert, times the experts' weights `(G, K, N)`; None before PyTorch 2.8."""


def _grouped_flops(left: Sequence[int], right: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(left) * right[-1]


_ADDED: Mapping[Any, Callable[..., int]] = {} if _GROUPED is None else {_GROUPED: _grouped_flops}


def count_macs(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Multiply-accumulates of one operator; 0 where it is no matrix product, convolution or attention."""
    added = _ADDED.get(func._overloadpacket)
    if added is not None:
        return added(args[0].shape, args[1].shape) // 2
    count = flop_registry.get(func._overloadpacket)
    if count is None:
        return 0
    of_shapes = getattr(count, "__wrapped__", None)  # PyTorch finds the shapes in slow Python
    if of_shapes is None or not isinstance(out, Tensor):
        return int(count(*args, **kwargs, out_val=out)) // 2
    shapes = [one.shape if isinstance(one, Tensor) else one for one in args]
    return int(of_shapes(*shapes, **kwargs, out_shape=out.shape)) // 2


@contextmanager
def unfused() -> Iterator[None]:
    """Within the block attention and recurrent layers run as the matrix products that they are, which counters know."""
    former = mha.get_fastpath_enabled(), mkldnn.enabled
    mha.set_fastpath_enabled(False)
    mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(former[0])
        mkldnn.enabled = former[1]


class MacsCounter(TorchDispatchMode):
    """A context manager that counts what runs within it, also where PyTorch's counter can't hook into gradients.

    Attributes:
        macs: multiply-accumulates so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            with self:
                made = func.decompose(*args, **kwargs)  # in inference mode operators made of others come whole
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        self.macs += count_macs(func, args, kwargs, out)
        return out


def grouped_product(func: Any, args: Sequence[Any]) -> Tensor | None:
    """The result of an experts' product without data, whose shape PyTorch gives for bfloat16 alone; None for others."""
    if _GROUPED is None or func._overloadpacket is not _GROUPED or not args[0].is_meta:
        return None
    left, right = args[:2]
    return left.new_empty((left.shape[0], right.shape[-1])) if (left.ndim, right.ndim) == (2, 3) else None
