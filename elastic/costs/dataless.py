"""Operators run on tensors that have shapes but no data.

PyTorch finds the shape of a result in Python, which takes longer than running a model; most results have a shape that
is known at once, or was found before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from elastic.costs.counting import grouped_product

_BATCH_NORMS = {
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten._native_batch_norm_legit_no_training.default,
}
_ACTIVATIONS = ("elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "sigmoid", "silu")
_LIKE_INPUT = {
    *(getattr(torch.ops.aten, name).default for name in (*_ACTIVATIONS, "neg", "rsqrt", "_safe_softmax")),
    *(getattr(torch.ops.aten, name).Tensor for name in ("add", "mul")),
    torch.ops.aten.mul.Scalar,
    torch.ops.aten.pow.Tensor_Scalar,
}
_IN_PLACE = {
    *(getattr(torch.ops.aten, f"{name}_").default for name in _ACTIVATIONS),
    *(getattr(torch.ops.aten, name).Tensor for name in ("add_", "mul_")),
}


def of_kept_statistics(func: Any, args: Any) -> bool:
    """Whether it is a BatchNorm with running statistics; instance norms compute statistics of their own."""
    return func in _BATCH_NORMS and not (func is torch.ops.aten.native_batch_norm.default and args[5])


def _shortcut(func: Any, args: Any, tensors: list[Tensor]) -> Any:
    """The result of a frequent operator, if it looks like an input; PyTorch finds that out in slow Python."""
    first = args[0]
    if func is torch.ops.aten.convolution.default and not args[6] and first.is_contiguous():
        return first.new_empty(_convolved(*args[:6]))
    if of_kept_statistics(func, args):
        return torch.empty_like(first), *[first.new_empty(0)] * 2
    if func in _IN_PLACE:
        return first
    if func in _LIKE_INPUT:
        like = max(tensors, key=Tensor.numel)
        if like is first or (like.is_contiguous() and first.is_contiguous()):
            return torch.empty_like(like) if all(_fits(like, other) for other in args) else None
    return None


def _convolved(x: Tensor, weight: Tensor, _: Any, strides: Any, paddings: Any, dilations: Any) -> list[int]:
    """The shape of a convolution's result."""
    sides = zip(x.shape[2:], weight.shape[2:], strides, paddings, dilations, strict=True)
    lengths = [
        (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for side, kernel, stride, pad, dilation in sides
    ]
    return [x.shape[0], weight.shape[0], *lengths]


def _fits(like: Tensor, other: Any) -> bool:
    """Whether an element-wise result of both has the shape and dtype of the first."""
    if not isinstance(other, Tensor):
        return isinstance(other, (int, float))
    lengths = zip(reversed(like.shape), reversed(other.shape), strict=False)
    return other.dtype == like.dtype and other.ndim <= like.ndim and all(b in (1, a) for a, b in lengths)


class Memo:
    """Results of operators without data: like inputs give like results, which PyTorch finds out in slow Python."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, ...]] = {}

    def __call__(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result; only single new tensors are remembered."""
        returns = func._schema.returns
        given = tensors_among((*args, *kwargs.values()))
        if len(returns) != 1 or returns[0].alias_info is not None or not given or not all(one.is_meta for one in given):
            return func(*args, **kwargs)
        key = func, _form(args), _form(tuple(kwargs.items()))
        form = self._known.get(key)
        if form is not None:
            return torch.empty_strided(*form[:2], dtype=form[2], device="meta")
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.is_meta and storage_of(out) not in map(storage_of, given):
            self._known[key] = _form(out)
        return out


def _form(value: Any) -> Any:
    """What an operator without data can tell about an argument."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_form, value))
    return type(value), value


def run_operator(func: Any, args: Any, kwargs: Any, tensors: list[Tensor], recurrent: bool, memo: Memo) -> Any:
    """The operator's result: with data if nothing it reads or makes is of the model's weights or made of them.

    Recurrent layers of PyTorch insist on states that are where the weights are.
    """
    if tensors and tensors[0] is args[0] and args[0].is_meta and args[0].is_floating_point():
        made = _shortcut(func, args, tensors)
        if made is not None:
            return made
    with_data = not recurrent and not any(tensor.is_meta for tensor in tensors)
    if with_data and str(kwargs.get("device")) == "meta":  # arange(n, device=x.device), mask.to(x.device)
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if len({tensor.is_meta for tensor in tensors}) > 1:
        if func._schema.name.endswith("_") and not args[0].is_meta:  # written into: a state that began as zeros
            return args[0]
        args, kwargs = on_meta(args), on_meta(kwargs)
    made = grouped_product(func, args)
    return memo(func, args, kwargs) if made is None else made


def tensors_among(values: Iterable[Any]) -> list[Tensor]:
    """The tensors in an operator's arguments or results (several times as fast as PyTorch's `tree_leaves`)."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += tensors_among(value)
    return found


def on_meta(values: Any) -> Any:
    """An argument whose tensors have no data."""
    if isinstance(values, Tensor):
        return values.to("meta")
    if type(values) in (tuple, list):
        return type(values)(map(on_meta, values))
    return {name: on_meta(value) for name, value in values.items()} if isinstance(values, dict) else values


def storage_of(tensor: Tensor) -> int:
    """The identity of a tensor's memory, which its views share."""
    return int(tensor.untyped_storage()._cdata)
