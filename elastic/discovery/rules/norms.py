"""Norms: weights and statistics have the axis that is normalised."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from elastic.discovery.atoms import AtomAxes, Factors, fix, fresh
from elastic.discovery.rules.call import Call, outputs, rule


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm")
@rule("batch_norm", "_batch_norm_no_update")
def _batch_norm(call: Call) -> list[AtomAxes]:
    axes = call.axes(0)
    _weights(call, range(1, 5), axes[1])
    return _first(call, axes)


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def _layer_norm(call: Call) -> list[AtomAxes]:
    axes, count = call.axes(0), len(call.args[1])
    for back in range(1, count + 1):
        if isinstance(call.args[2], Tensor):
            for at in range(2, len(call.args)):
                if isinstance(call.args[at], Tensor):
                    call.unify(axes[-back], call.axes(at)[-back])
        else:
            fix(axes[-back], "a norm without weights states its width")
    return _first(call, axes)


@rule("native_group_norm")
def _group_norm(call: Call) -> list[AtomAxes]:
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


def _first(call: Call, axes: AtomAxes) -> list[AtomAxes]:
    """The output's axes, and fixed ones for the statistics that are returned with it."""
    return [axes, *outputs(call.out, call.why)[1:]]
