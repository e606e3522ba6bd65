"""Operators that work element by element, or keep all elements in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elastic.discovery.atoms import AtomAxes, Factors, fix, leaves
from elastic.discovery.rules.call import Call, dims_of, outputs, rule


def pointwise(call: Call, inputs: Sequence[Tensor]) -> list[AtomAxes]:
    """Align axes from the last one; axes of length 1 are broadcast."""
    found: list[Factors] = []
    for back in range(1, call.out.ndim + 1):
        length = call.out.shape[-back]
        meeting = [call.labels.of(t)[-back] for t in inputs if t.ndim >= back and t.shape[-back] == length]
        for axis in meeting[1:]:
            call.unify(meeting[0], axis)
        found.insert(0, meeting[0] if meeting else call.fixed(length))
    if call.name in ADDITIONS:
        _note_stream(call, inputs, found)
    return [tuple(found)] * len(outputs(call.out, ""))


def _note_stream(call: Call, inputs: Sequence[Tensor], axes: Sequence[Factors]) -> None:
    """If two tensors that depend on the input are added, their channels are the residual stream.

    Unless both are computed from the same tensor element by element: GELU's approximation adds powers of its input.
    """
    alike = len(inputs) == 2 and inputs[0].shape == inputs[1].shape
    if alike and all(map(call.labels.is_live, inputs)) and len(set(map(call.labels.source, inputs))) == 2:
        for axis in axes:
            for atom in leaves(axis):
                atom.roles.add("stream")


@rule("detach", "alias", "lift_fresh", "_to_copy", "contiguous", "roll", "flip", "view_as_real")
@rule("_softmax", "_safe_softmax", "_log_softmax", "softmax", "log_softmax", "native_dropout")
def _same(call: Call) -> list[AtomAxes]:
    axes = call.axes(0)
    for dim in dims_of(call, 2) if call.name == "roll" else dims_of(call, 1) if call.name == "flip" else []:
        fix(axes[dim], call.why)
    return [axes] * len(outputs(call.out, ""))


ADDITIONS = {"add", "add_", "sub", "sub_"}

KEEPS_MARKS = {
    "detach", "alias", "contiguous", "roll", "flip", "view", "_unsafe_view", "permute", "transpose", "unsqueeze",
    "squeeze", "slice", "native_layer_norm", "native_batch_norm", "_native_batch_norm_legit_no_training",
    "native_group_norm", "constant_pad_nd", "cat", "index", "clone", "_fused_rms_norm", "split", "unbind", "select",
    "expand",
}  # fmt: skip
"""Operators whose output still includes their input, as a residual connection does."""


def is_pointwise(func: Any) -> bool:
    """Whether an operator works element by element; not all operators in place have PyTorch's tag for it."""
    name = func._overloadpacket.__name__
    if name in ("max", "min") and torch.Tag.pointwise not in func.tags:
        return False  # of an axis, not of two tensors
    plain = getattr(torch.ops.aten, name.rstrip("_"), None)
    same = [func] if plain is None else [func, *(getattr(plain, one) for one in plain.overloads())]
    return any(torch.Tag.pointwise in one.tags for one in same) or name.rstrip("_") in _ALSO_POINTWISE


_ALSO_POINTWISE = {"hardtanh", "hardswish", "hardsigmoid", "fill", "zero", "zeros_like", "ones_like", "_prelu_kernel"}
