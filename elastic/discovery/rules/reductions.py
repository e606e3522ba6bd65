"""Reductions: sums and means, pooling, resizing."""

from __future__ import annotations

from torch import Tensor
from torch.utils._pytree import tree_leaves

from elastic.discovery.atoms import AtomAxes, Factors, fix, is_fixed
from elastic.discovery.rules.call import Call, dims_of, outputs, rule


@rule("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "argmax", "argmin", "linalg_vector_norm")
@rule("any", "all", "prod", "norm")
def _reduce(call: Call) -> list[AtomAxes]:
    axes = call.axes(0)
    dims = set(dims_of(call, 2 if call.name == "linalg_vector_norm" else 1)) or set(range(len(axes)))
    kept = [axis for at, axis in enumerate(axes) if at not in {dim % len(axes) for dim in dims}]
    first = next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor))
    if first.ndim == len(axes):
        reduced = {dim % len(axes) for dim in dims}
        return [tuple(() if at in reduced else axis for at, axis in enumerate(axes))] * len(outputs(call.out, ""))
    return [tuple(kept)] * len(outputs(call.out, ""))


@rule("sort", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def _ordered(call: Call) -> list[AtomAxes]:
    """Operators that depend on the order of an axis, which therefore can't change."""
    return _along(call, next((arg for arg in call.args[1:] if type(arg) is int), -1))


@rule("topk", "kthvalue")
def _top(call: Call) -> list[AtomAxes]:
    return _along(call, call.args[2])


def _along(call: Call, dim: int) -> list[AtomAxes]:
    """An operator along one axis, which can't change and may be missing from the output."""
    axes, out = list(call.axes(0)), next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor))
    if axes:
        fix(axes[dim], call.why)
        axes[dim : dim + 1 or None] = [call.fixed(out.shape[dim])] if out.ndim == len(axes) else []
    return [tuple(axes)] * len(outputs(call.out, ""))


@rule("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
@rule("upsample_nearest2d", "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_bicubic2d", "max_pool2d")
@rule("_upsample_bicubic2d_aa", "_upsample_nearest_exact2d", "upsample_nearest1d", "upsample_linear1d")
@rule("reflection_pad2d", "replication_pad2d", "avg_pool1d", "max_pool1d", "max_pool3d_with_indices", "avg_pool3d")
@rule("constant_pad_nd", "grid_sampler_2d")
def _resized(call: Call) -> list[AtomAxes]:
    """Axes that keep their length are kept; the others are sides of images, which follow the resolution."""
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
