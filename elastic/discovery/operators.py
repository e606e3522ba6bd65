"""What each operator of PyTorch says about the axes of its inputs and outputs.

A rule unifies the axes that must be equal and gives those of the output. An operator without one makes all that goes
into it unchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.discovery.atoms import Axes, Factors, fix, fresh, is_fixed, leaves, regroup, size_of, unify

SCALED = "attention's scale depends on it"
HEAD_WIDTH = f"width of a head: {SCALED}"
SIDES = "sides of kernels"
GROUP_WIDTH = "width of a group of a convolution"


class Labels(Protocol):
    """What is known of tensors."""

    def of(self, tensor: Tensor) -> Axes:
        """The axes of a tensor."""

    def is_live(self, tensor: Tensor) -> bool:
        """Whether it depends on the model's input: what doesn't is made of weights."""


@dataclass
class Call:
    """One operator while it runs.

    Attributes:
        name: such as `addmm`.
        args: its arguments, defaults filled in.
        out: what it gave.
        labels: of all tensors.
        module: whose code runs it.
        why: the words for what can't change because of it.
    """

    name: str
    args: list[Any]
    out: Any
    labels: Labels
    module: nn.Module
    why: str

    def axes(self, at: int) -> Axes:
        """Of the tensor among the arguments."""
        return self.labels.of(self.args[at])

    def unify(self, one: Iterable[Any], other: Iterable[Any]) -> None:
        """Two axes are the same."""
        unify(one, other, self.why)

    def fixed(self, length: int) -> Factors:
        """An axis that can't change."""
        return fresh(length, self.why)


Rule = Callable[[Call], "list[Axes]"]
"""Gives the axes of each tensor that the operator gives."""

RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def keep(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return keep


def unknown(call: Call, inputs: Sequence[Tensor]) -> list[Axes]:
    """All that goes in can't change, nor what comes out."""
    for tensor in inputs:
        for axis in call.labels.of(tensor):
            fix(axis, call.why)
    return outputs(call.out, call.why)


def outputs(out: Any, why: str) -> list[Axes]:
    """Unchangeable axes for all tensors given."""
    tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return [tuple(fresh(length, why) for length in tensor.shape) for tensor in tensors]


# --- element by element -------------------------------------------------------------------------------------------


def pointwise(call: Call, inputs: Sequence[Tensor]) -> list[Axes]:
    """Axes are aligned from the last one; those of length 1 are repeated."""
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
    """Where two results of the input are added, their channels are what blocks are added to."""
    if len(inputs) == 2 and inputs[0].shape == inputs[1].shape and all(map(call.labels.is_live, inputs)):
        for axis in axes:
            for atom in leaves(axis):
                atom.roles.add("stream")


@_rule("detach", "alias", "lift_fresh", "_to_copy", "contiguous", "roll", "flip", "view_as_real")
@_rule("_softmax", "_safe_softmax", "_log_softmax", "softmax", "log_softmax", "native_dropout")
def _same(call: Call) -> list[Axes]:
    axes = call.axes(0)
    for dim in _dims(call, 2) if call.name == "roll" else _dims(call, 1) if call.name == "flip" else []:
        fix(axes[dim], call.why)
    return [axes] * len(outputs(call.out, ""))


# --- products -----------------------------------------------------------------------------------------------------


@_rule("mm", "addmm")
def _mm(call: Call) -> list[Axes]:
    at = 1 if call.name == "addmm" else 0
    left, right = call.axes(at), call.axes(at + 1)
    call.unify(left[1], right[0])
    out = (left[0], right[1])
    if call.name == "addmm":
        _broadcast(call, call.axes(0), out)
    _note_attention(call, call.args[at], call.args[at + 1], (), (left[0], left[1], right[1]))
    return [out]


@_rule("bmm", "baddbmm")
def _bmm(call: Call) -> list[Axes]:
    at = 1 if call.name == "baddbmm" else 0
    left, right = call.axes(at), call.axes(at + 1)
    call.unify(left[0], right[0])
    call.unify(left[2], right[1])
    out = (left[0], left[1], right[2])
    if call.name == "baddbmm":
        _broadcast(call, call.axes(0), out)
    _note_attention(call, call.args[at], call.args[at + 1], left[0], (left[1], left[2], right[2]))
    return [out]


@_rule("linear")
def _linear(call: Call) -> list[Axes]:
    inputs, weight = call.axes(0), call.axes(1)
    call.unify(inputs[-1], weight[1])
    if call.args[2] is not None:
        call.unify(weight[0], call.axes(2)[0])
    return [(*inputs[:-1], weight[0])]


@_rule("mv", "dot")
def _mv(call: Call) -> list[Axes]:
    left, right = call.axes(0), call.axes(1)
    call.unify(left[-1], right[0])
    return [left[:-1]]


def _broadcast(call: Call, added: Axes, out: Axes) -> None:
    for one, other in zip(reversed(added), reversed(out), strict=False):
        if one:
            call.unify(one, other)


def _note_attention(call: Call, left: Tensor, right: Tensor, batch: Factors, others: Iterable[Factors]) -> None:
    """A product of two results of the input: the batch has the heads, and the heads keep their width."""
    if not (call.labels.is_live(left) and call.labels.is_live(right)):
        return
    for atom in leaves(batch):
        atom.roles.add("heads")
    for axis in others:
        fix(axis, HEAD_WIDTH)


@_rule("convolution", "_convolution", "conv2d", "conv1d")
def _convolution(call: Call) -> list[Axes]:
    inputs, weight = call.axes(0), call.axes(1)
    transposed, groups = bool(call.args[6]), int(call.args[8])
    if groups == 1:
        came, out = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
        call.unify(inputs[1], came)
    else:
        out = _grouped(call, inputs[1], weight, groups, transposed)
    if call.args[2] is not None:
        call.unify(out, call.axes(2)[0])
    sides = [_side(call, axis, call.out.shape[2 + at]) for at, axis in enumerate(inputs[2:])]
    for axis in weight[2:]:
        fix(axis, SIDES)
    return [(inputs[0], out, *sides)]


def _grouped(call: Call, channels: Factors, weight: Axes, groups: int, transposed: bool) -> Factors:
    """The output's channels: groups stay as wide as they are, their number may change."""
    number = fresh(groups)
    width = fresh(call.args[0].shape[1] // groups, GROUP_WIDTH)
    call.unify(channels, (*number, *width))
    made = fresh(call.out.shape[1] // groups, GROUP_WIDTH)
    if transposed:
        call.unify(weight[0], (*number, *width))
        call.unify(weight[1], made)
    else:
        call.unify(weight[0], (*number, *made))
        call.unify(weight[1], width)
    if not isinstance(call.module, nn.modules.conv._ConvNd) or transposed:
        fix(number, call.why)  # nothing restates the number of groups
    return (*number, *made)


def _side(call: Call, axis: Factors, length: int) -> Factors:
    """A side that a kernel runs along: channels, if at all, keep their order and number (ECA)."""
    if is_fixed(axis) or length != call.args[0].shape[-1]:
        fix(axis, call.why)
        return call.fixed(length)
    for atom in leaves(axis):
        atom.ordered = True
    return axis


# --- norms --------------------------------------------------------------------------------------------------------


@_rule("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm")
@_rule("batch_norm", "_batch_norm_no_update")
def _batch_norm(call: Call) -> list[Axes]:
    axes = call.axes(0)
    _weights(call, range(1, 5), axes[1])
    return _first(call, axes)


@_rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def _layer_norm(call: Call) -> list[Axes]:
    axes, count = call.axes(0), len(call.args[1])
    for back in range(1, count + 1):
        if isinstance(call.args[2], Tensor):
            for at in range(2, len(call.args)):
                if isinstance(call.args[at], Tensor):
                    call.unify(axes[-back], call.axes(at)[-back])
        else:
            fix(axes[-back], "a norm without weights states its width")
    return _first(call, axes)


@_rule("native_group_norm")
def _group_norm(call: Call) -> list[Axes]:
    axes, groups = call.axes(0), int(call.args[6])
    if groups > 1:
        number = fresh(groups, "number of groups of a norm")
        call.unify(axes[1], (*number, *fresh(call.args[0].shape[1] // groups)))
    _weights(call, (1, 2), axes[1])
    return _first(call, axes)


def _weights(call: Call, places: Iterable[int], axis: Factors) -> None:
    for at in places:
        if isinstance(call.args[at], Tensor):
            call.unify(axis, call.axes(at)[0])


def _first(call: Call, axes: Axes) -> list[Axes]:
    """The output's axes, and unchangeable ones for the statistics that come with it."""
    return [axes, *outputs(call.out, call.why)[1:]]


# --- the same elements in another shape ---------------------------------------------------------------------------


@_rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy")
def _view(call: Call) -> list[Axes]:
    return [tuple(regroup(call.axes(0), call.out.shape, call.why))]


@_rule("pixel_shuffle", "pixel_unshuffle")
def _shuffle(call: Call) -> list[Axes]:
    axes, factor = call.axes(0), int(call.args[1])
    sides = tuple(call.fixed(length) for length in call.out.shape[-2:])
    if call.name == "pixel_unshuffle":
        return [(*axes[:-3], (*axes[-3], *call.fixed(factor * factor)), *sides)]
    rest = call.args[0].shape[-3] // factor**2
    return [(*axes[:-3], regroup([axes[-3]], [rest, factor * factor], call.why)[0], *sides)]


@_rule("permute", "transpose", "t", "movedim", "transpose_")
def _permute(call: Call) -> list[Axes]:
    axes = list(call.axes(0))
    if call.name == "permute":
        return [tuple(axes[dim] for dim in call.args[1])]
    if call.name == "t":
        return [tuple(reversed(axes))]
    one, other = call.args[1], call.args[2]
    axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


@_rule("unsqueeze", "squeeze", "squeeze_", "unsqueeze_")
def _ones(call: Call) -> list[Axes]:
    kept = iter([axis for axis, length in zip(call.axes(0), call.args[0].shape, strict=True) if length != 1])
    return [tuple(() if length == 1 else next(kept) for length in call.out.shape)]


@_rule("expand")
def _expand(call: Call) -> list[Axes]:
    before = call.axes(0)
    added = call.out.ndim - len(before)
    old = [1] * added + list(call.args[0].shape)
    axes = [()] * added + list(before)
    pairs = zip(axes, old, call.out.shape, strict=True)
    return [tuple(axis if was == is_now else fresh(is_now) for axis, was, is_now in pairs)]


@_rule("repeat")
def _repeat(call: Call) -> list[Axes]:
    before = call.axes(0)
    axes = [()] * (call.out.ndim - len(before)) + list(before)
    return [tuple((*call.fixed(int(n)), *axis) for n, axis in zip(call.args[1], axes, strict=True))]


# --- parts of a tensor, and parts put together --------------------------------------------------------------------


@_rule("slice")
def _slice(call: Call) -> list[Axes]:
    axes, dim = list(call.axes(0)), call.args[1]
    if call.out.shape[dim] != call.args[0].shape[dim]:
        fix(axes[dim], call.why)
        axes[dim] = call.fixed(call.out.shape[dim])
    return [tuple(axes)]


@_rule("select", "unbind")
def _select(call: Call) -> list[Axes]:
    axes = list(call.axes(0))
    fix(axes.pop(call.args[1]), call.why)
    return [tuple(axes)] * len(outputs(call.out, ""))


@_rule("split", "split_with_sizes", "chunk")
def _split(call: Call) -> list[Axes]:
    axes, dim = list(call.axes(0)), call.args[2] % len(call.axes(0))
    lengths = [part.shape[dim] for part in call.out]
    units = math.gcd(*lengths)
    many, unit = regroup([axes[dim]], [sum(lengths) // units, units], call.why)
    fix(many, call.why)
    if units == 1:
        fix(unit, call.why)
    return [(*axes[:dim], (*call.fixed(length // units), *unit), *axes[dim + 1 :]) for length in lengths]


@_rule("cat")
def _cat(call: Call) -> list[Axes]:
    tensors = [tensor for tensor in call.args[0] if tensor.numel()]
    parts = [call.labels.of(tensor) for tensor in tensors]
    dim = call.args[1]
    for part in parts[1:]:
        for at, axis in enumerate(part):
            if at != dim % len(part):
                call.unify(parts[0][at], axis)
    axes = list(parts[0])
    axes[dim] = _joined(call, [part[dim] for part in parts])
    return [tuple(axes)]


def _joined(call: Call, pieces: Sequence[Factors]) -> Factors:
    """Pieces keep their proportions: each is a multiple of one unit, which may change."""
    whole, units = sum(map(size_of, pieces)), math.gcd(*map(size_of, pieces))
    if units == 1 or any(map(is_fixed, pieces)):
        for piece in pieces:
            fix(piece, call.why)
        return call.fixed(whole)
    unit = fresh(units)
    for piece in pieces:
        call.unify(piece, (*call.fixed(size_of(piece) // units), *unit))
    return (*call.fixed(whole // units), *unit)


@_rule("stack")
def _stack(call: Call) -> list[Axes]:
    parts = [call.labels.of(tensor) for tensor in call.args[0]]
    for part in parts[1:]:
        for one, other in zip(parts[0], part, strict=True):
            call.unify(one, other)
    axes, dim = list(parts[0]), call.args[1] % call.out.ndim
    axes.insert(dim, call.fixed(len(parts)))
    return [tuple(axes)]


@_rule("index")
def _index(call: Call) -> list[Axes]:
    """Rows chosen of the first axis; whatever is more involved can't change."""
    indices = list(call.args[1])
    if len([index for index in indices if index is not None]) != 1 or indices[0] is None:
        return unknown(call, [call.args[0]])
    axes = call.axes(0)
    fix(axes[0], call.why)
    return [(*(call.fixed(length) for length in indices[0].shape), *axes[1:])]


@_rule("index_select")
def _index_select(call: Call) -> list[Axes]:
    axes, dim = list(call.axes(0)), call.args[1]
    fix(axes[dim], call.why)
    axes[dim] = call.fixed(call.out.shape[dim])
    return [tuple(axes)]


@_rule("embedding")
def _embedding(call: Call) -> list[Axes]:
    table = call.axes(0)
    fix(table[0], call.why)
    return [(*call.axes(1), *table[1:])]


@_rule("copy_")
def _copy(call: Call) -> list[Axes]:
    _broadcast(call, call.axes(1), call.axes(0))
    return [call.axes(0)]


# --- fewer elements -----------------------------------------------------------------------------------------------


@_rule("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "argmax", "argmin", "linalg_vector_norm")
@_rule("any", "all", "prod", "norm")
def _reduce(call: Call) -> list[Axes]:
    axes = call.axes(0)
    dims = set(_dims(call, 2 if call.name == "linalg_vector_norm" else 1)) or set(range(len(axes)))
    kept = [axis for at, axis in enumerate(axes) if at not in {dim % len(axes) for dim in dims}]
    first = next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor))
    if first.ndim == len(axes):
        reduced = {dim % len(axes) for dim in dims}
        return [tuple(() if at in reduced else axis for at, axis in enumerate(axes))] * len(outputs(call.out, ""))
    return [tuple(kept)] * len(outputs(call.out, ""))


def _dims(call: Call, at: int) -> list[int]:
    given = call.args[at]
    if given is None or isinstance(given, (bool, float)):
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


@_rule("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
@_rule("upsample_nearest2d", "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_bicubic2d", "max_pool2d")
@_rule("_upsample_bicubic2d_aa", "_upsample_nearest_exact2d", "upsample_nearest1d", "upsample_linear1d")
@_rule("reflection_pad2d", "replication_pad2d", "avg_pool1d", "max_pool1d", "max_pool3d_with_indices", "avg_pool3d")
@_rule("constant_pad_nd", "grid_sampler_2d")
def _resized(call: Call) -> list[Axes]:
    """Axes whose length stays stay; others are sides of images, which follow the resolution."""
    axes, before = call.axes(0), call.args[0].shape
    shape = next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor)).shape
    images = call.name != "constant_pad_nd"
    found: list[Factors] = []
    for at, (axis, was, is_now) in enumerate(zip(axes, before, shape, strict=True)):
        if was == is_now and not (images and at >= (2 if len(axes) > 3 else 1) and not is_fixed(axis)):
            found.append(axis)
        else:
            fix(axis, call.why)
            found.append(call.fixed(is_now))
    return [tuple(found)] * len(outputs(call.out, ""))


ADDITIONS = {"add", "add_", "sub", "sub_"}

KEEPS_MARKS = {
    "detach", "alias", "contiguous", "roll", "flip", "view", "_unsafe_view", "permute", "transpose", "unsqueeze",
    "squeeze", "slice", "native_layer_norm", "native_batch_norm", "_native_batch_norm_legit_no_training",
    "native_group_norm", "constant_pad_nd", "cat", "index", "clone", "_fused_rms_norm", "split", "unbind", "select",
    "expand",
}  # fmt: skip
"""Operators whose output still has their input in it, as a residual connection has."""


def is_pointwise(func: Any) -> bool:
    """Whether an operator works element by element; those that work in place aren't all said to."""
    name = func._overloadpacket.__name__
    plain = getattr(torch.ops.aten, name.rstrip("_"), None)
    same = [func] if plain is None else [func, *(getattr(plain, one) for one in plain.overloads())]
    return any(torch.Tag.pointwise in one.tags for one in same) or name.rstrip("_") in _ALSO_POINTWISE


_ALSO_POINTWISE = {"hardtanh", "hardswish", "hardsigmoid", "fill", "zero", "zeros_like", "ones_like"}
