"""Matrix products and convolutions: the summed axes are equal; attention fixes the width of its heads."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from elastic.discovery.atoms import AtomAxes, Factors, fix, fresh, is_fixed, leaves
from elastic.discovery.rules.call import Call, broadcast, rule

HEAD_WIDTH = "width of a head: attention's scale depends on it"
SIDES = "sides of kernels"
GROUP_WIDTH = "width of a group of a convolution"


@rule("mm", "addmm")
def _mm(call: Call) -> list[AtomAxes]:
    at = 1 if call.name == "addmm" else 0
    left, right = call.axes(at), call.axes(at + 1)
    call.unify(left[1], right[0])
    out = (left[0], right[1])
    if call.name == "addmm":
        broadcast(call, call.axes(0), out)
    _note_attention(call, call.args[at], call.args[at + 1], (), (left[0], left[1], right[1]))
    return [out]


@rule("bmm", "baddbmm")
def _bmm(call: Call) -> list[AtomAxes]:
    at = 1 if call.name == "baddbmm" else 0
    left, right = call.axes(at), call.axes(at + 1)
    call.unify(left[0], right[0])
    call.unify(left[2], right[1])
    out = (left[0], left[1], right[2])
    if call.name == "baddbmm":
        broadcast(call, call.axes(0), out)
    _note_attention(call, call.args[at], call.args[at + 1], left[0], (left[1], left[2], right[2]))
    return [out]


@rule("linear")
def _linear(call: Call) -> list[AtomAxes]:
    inputs, weight = call.axes(0), call.axes(1)
    call.unify(inputs[-1], weight[1])
    if call.args[2] is not None:
        call.unify(weight[0], call.axes(2)[0])
    return [(*inputs[:-1], weight[0])]


@rule("mv", "dot")
def _mv(call: Call) -> list[AtomAxes]:
    left, right = call.axes(0), call.axes(1)
    call.unify(left[-1], right[0])
    return [left[:-1]]


def _note_attention(call: Call, left: Tensor, right: Tensor, batch: Factors, others: Iterable[Factors]) -> None:
    """A product of two tensors that depend on the input is attention: the batch has the heads, whose width is fixed."""
    if not (call.labels.is_live(left) and call.labels.is_live(right)):
        return
    for atom in leaves(batch):
        atom.roles.add("heads")
    for axis in others:
        fix(axis, HEAD_WIDTH)


@rule("convolution", "_convolution", "conv2d", "conv1d")
def _convolution(call: Call) -> list[AtomAxes]:
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


def _grouped(call: Call, channels: Factors, weight: AtomAxes, groups: int, transposed: bool) -> Factors:
    """The output's channels: the number of groups may change, their width is fixed."""
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
    if not isinstance(call.module, nn.modules.conv._ConvNd):
        fix(number, call.why)  # nothing restates the number of groups
    return (*number, *made)


def _side(call: Call, axis: Factors, length: int) -> Factors:
    """An axis that a kernel runs along: if it is one of channels (ECA), their order has a meaning."""
    if is_fixed(axis) or length != call.args[0].shape[-1]:
        fix(axis, call.why)
        return call.fixed(length)
    for atom in leaves(axis):
        atom.ordered = True
    return axis
