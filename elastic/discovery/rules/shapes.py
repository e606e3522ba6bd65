"""Reshapes and permutations: the same elements in another shape."""

from __future__ import annotations

from elastic.discovery.atoms import AtomAxes, fresh, regroup
from elastic.discovery.rules.call import Call, rule


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy")
def _view(call: Call) -> list[AtomAxes]:
    return [tuple(regroup(call.axes(0), call.out.shape, call.why))]


@rule("pixel_shuffle", "pixel_unshuffle")
def _shuffle(call: Call) -> list[AtomAxes]:
    axes, factor = call.axes(0), int(call.args[1])
    sides = tuple(call.fixed(length) for length in call.out.shape[-2:])
    if call.name == "pixel_unshuffle":
        return [(*axes[:-3], (*axes[-3], *call.fixed(factor * factor)), *sides)]
    rest = call.args[0].shape[-3] // factor**2
    return [(*axes[:-3], regroup([axes[-3]], [rest, factor * factor], call.why)[0], *sides)]


@rule("permute", "transpose", "t", "movedim", "transpose_")
def _permute(call: Call) -> list[AtomAxes]:
    axes = list(call.axes(0))
    if call.name == "permute":
        return [tuple(axes[dim] for dim in call.args[1])]
    if call.name == "t":
        return [tuple(reversed(axes))]
    one, other = call.args[1], call.args[2]
    axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


@rule("unsqueeze", "squeeze", "squeeze_", "unsqueeze_")
def _ones(call: Call) -> list[AtomAxes]:
    kept = iter([axis for axis, length in zip(call.axes(0), call.args[0].shape, strict=True) if length != 1])
    return [tuple(() if length == 1 else next(kept) for length in call.out.shape)]


@rule("expand")
def _expand(call: Call) -> list[AtomAxes]:
    before = call.axes(0)
    added = call.out.ndim - len(before)
    old = [1] * added + list(call.args[0].shape)
    axes = [()] * added + list(before)
    pairs = zip(axes, old, call.out.shape, strict=True)
    return [tuple(axis if was == is_now else fresh(is_now) for axis, was, is_now in pairs)]


@rule("repeat")
def _repeat(call: Call) -> list[AtomAxes]:
    before = call.axes(0)
    axes = [()] * (call.out.ndim - len(before)) + list(before)
    return [tuple((*call.fixed(int(n)), *axis) for n, axis in zip(call.args[1], axes, strict=True))]
