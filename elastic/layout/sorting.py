"""Sorting units by importance: one permutation per size, applied to every tensor axis of that size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layers.read_rules import TensorRule, stored_tensor
from elastic.layout.layout import Layout
from elastic.space.sizes import Size
from elastic.space.space import SearchSpace


def sort_units(
    model: nn.Module, layout: Layout, importance: Mapping[str, Tensor], within: SearchSpace | None = None
) -> None:
    """Reorder parameters and buffers in place; see `Supernet.sort`."""
    orders = {name: _order(layout, name, scores, within) for name, scores in importance.items()}
    done: set[int] = set()
    with torch.no_grad():
        for path, rules in layout.rules.items():
            module = model.get_submodule(path)
            for name, rule in rules.items():
                if not isinstance(rule, TensorRule) or not any(size.name in orders for size in rule.axes.sizes):
                    continue
                tensor = stored_tensor(module, name)
                if id(tensor) not in done:
                    done.add(id(tensor))
                    tensor.copy_(rule.axes.permute(tensor, orders))


def _order(layout: Layout, name: str, scores: Tensor, within: SearchSpace | None) -> Tensor:
    size = layout.sizes.get(name)
    if size is None or not is_sortable(size, layout):
        sortable = [other.name for other in layout.sizes.values() if is_sortable(other, layout)]
        raise LayoutError(f"can't sort {name!r}: the layout can reorder {sortable}")
    if scores.shape != (size.full,):
        raise LayoutError(f"importance of {name!r}: wanted {size.full} scores, got shape {tuple(scores.shape)}")
    if scores.isnan().any():
        raise LayoutError(f"importance of {name!r}: score {int(scores.isnan().nonzero()[0])} isn't a number (NaN)")
    order = torch.argsort(scores, descending=True, stable=True)
    if within is None:
        return order
    widths = torch.tensor(layout.lengths(name, {dim.name: dim.choices for dim in within.dims}))
    between = torch.searchsorted(widths, order.cpu(), right=True)  # between which two widths a unit lies
    return order[torch.argsort(between, stable=True).to(order.device)]


def is_sortable(size: Size, layout: Layout) -> bool:
    """Whether the units of a size can be reordered: of widths and heads they can; of kernels, depths and tokens not."""
    if size.keep != "prefix":
        return False
    return any(
        isinstance(rule, TensorRule) and any(bound is size for bound in rule.axes.sizes)
        for rules in layout.rules.values()
        for rule in rules.values()
    )
