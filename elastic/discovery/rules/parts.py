"""Slices and pieces of a tensor, and their concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from elastic.discovery.atoms import AtomAxes, Factors, fix, fresh, is_fixed, regroup, size_of
from elastic.discovery.rules.call import Call, broadcast, outputs, rule, unknown


@rule("slice")
def _slice(call: Call) -> list[AtomAxes]:
    axes, dim = list(call.axes(0)), call.args[1]
    if call.out.shape[dim] != call.args[0].shape[dim]:
        fix(axes[dim], call.why)
        axes[dim] = call.fixed(call.out.shape[dim])
    return [tuple(axes)]


@rule("select", "unbind")
def _select(call: Call) -> list[AtomAxes]:
    axes = list(call.axes(0))
    fix(axes.pop(call.args[1]), call.why)
    return [tuple(axes)] * len(outputs(call.out, ""))


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk")
def _split(call: Call) -> list[AtomAxes]:
    axes, dim = list(call.axes(0)), call.args[2] % len(call.axes(0))
    lengths = [part.shape[dim] for part in call.out]
    units = math.gcd(*lengths)
    many, unit = regroup([axes[dim]], [sum(lengths) // units, units], call.why)
    fix(many, call.why)
    if units == 1:
        fix(unit, call.why)
    return [(*axes[:dim], (*call.fixed(length // units), *unit), *axes[dim + 1 :]) for length in lengths]


@rule("cat")
def _cat(call: Call) -> list[AtomAxes]:
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
    """The axis of concatenated pieces: each is a multiple of one common unit, which may change."""
    whole, units = sum(map(size_of, pieces)), math.gcd(*map(size_of, pieces))
    if units == 1 or any(map(is_fixed, pieces)):
        for piece in pieces:
            fix(piece, call.why)
        return call.fixed(whole)
    unit = fresh(units)
    for piece in pieces:
        call.unify(piece, (*call.fixed(size_of(piece) // units), *unit))
    return (*call.fixed(whole // units), *unit)


@rule("stack")
def _stack(call: Call) -> list[AtomAxes]:
    parts = [call.labels.of(tensor) for tensor in call.args[0]]
    for part in parts[1:]:
        for one, other in zip(parts[0], part, strict=True):
            call.unify(one, other)
    axes, dim = list(parts[0]), call.args[1] % call.out.ndim
    axes.insert(dim, call.fixed(len(parts)))
    return [tuple(axes)]


@rule("index")
def _index(call: Call) -> list[AtomAxes]:
    """Rows of the first axis by index; other kinds of indexing fix everything."""
    indices = list(call.args[1])
    if len([index for index in indices if index is not None]) != 1 or indices[0] is None:
        return unknown(call, [call.args[0]])
    axes = call.axes(0)
    fix(axes[0], call.why)
    return [(*(call.fixed(length) for length in indices[0].shape), *axes[1:])]


@rule("index_select")
def _index_select(call: Call) -> list[AtomAxes]:
    axes, dim = list(call.axes(0)), call.args[1]
    fix(axes[dim], call.why)
    axes[dim] = call.fixed(call.out.shape[dim])
    return [tuple(axes)]


@rule("embedding")
def _embedding(call: Call) -> list[AtomAxes]:
    table = call.axes(0)
    fix(table[0], call.why)
    return [(*call.axes(1), *table[1:])]


@rule("copy_")
def _copy(call: Call) -> list[AtomAxes]:
    broadcast(call, call.axes(1), call.axes(0))
    return [call.axes(0)]
