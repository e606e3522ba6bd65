"""Importance scores of channels, neurons and heads, by which `Supernet.sort` orders them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from elastic.layers.read_rules import TensorRule
from elastic.layout.sorting import is_sortable
from elastic.space.sizes import Derived, Size
from elastic.support.inputs import predict

if TYPE_CHECKING:
    from elastic.supernet.supernet import Supernet

Kind = Literal["l1", "l2", "taylor"]
Loss = Callable[[Any, Any], Tensor]


def importance(
    supernet: Supernet,
    kind: Kind = "l1",
    batches: Iterable[tuple[Any, Any]] | None = None,
    loss: Loss | None = None,
) -> dict[str, Tensor]:
    """Score the units of every size that can be sorted; higher matters more.

    - `"l1"`, `"l2"`: norm of the weights that read a unit, Once-for-All's rule (Cai et al., ICLR 2020) with
      `"l1"`: a channel nobody listens to is unimportant.
    - `"taylor"`: |Σ weight · gradient| per layer that makes or reads a unit, summed over layers and batches: to
      first order, how much the loss changes without the unit (Molchanov et al., CVPR 2019). A unit of several channels
      counts where it is read only: for a head that is |∂L/∂mask| of a mask on its output, as in DynaBERT (Hou et
      al., NeurIPS 2020).

    Args:
        supernet: left as it is: neither gradients nor statistics nor the active subnet change.
        kind: which score.
        batches: (input, target) pairs, for `"taylor"`; a held-out part of the training data.
        loss: `loss(output, target)`, for `"taylor"`; cross-entropy by default.

    Returns:
        By size name, a float32 score per unit, shape `(full,)`.

    Raises:
        ValueError: an unknown kind; `"taylor"` without batches, or with parameters that are all frozen.
    """
    if kind in ("l1", "l2"):
        return _magnitude(supernet, 1 if kind == "l1" else 2)
    if kind != "taylor":
        raise ValueError(f"importance {kind!r} is unknown; choose 'l1', 'l2' or 'taylor'")
    if batches is None:
        raise ValueError("importance 'taylor' needs batches of (input, target) from the training data")
    return _taylor(supernet, batches, loss or nn.functional.cross_entropy)


def _sizes(supernet: Supernet) -> list[Size]:
    return [size for size in supernet.layout.sizes.values() if is_sortable(size, supernet.layout)]


def _bound(supernet: Supernet, size: Size) -> Iterator[tuple[str, str, TensorRule]]:
    """Every tensor that has the size: module path, name and rule."""
    for path, rules in supernet.layout.rules.items():
        for name, rule in rules.items():
            if isinstance(rule, TensorRule) and any(bound is size for bound in rule.axes.sizes):
                yield path, name, rule


def _magnitude(supernet: Supernet, power: int) -> dict[str, Tensor]:
    parameters = dict(supernet.model.named_parameters())
    scores = {}
    for size in _sizes(supernet):
        every = [(f"{p}.{n}".lstrip("."), rule) for p, n, rule in _bound(supernet, size)]
        weights = [(name, rule) for name, rule in every if name in parameters]
        readers = [(name, rule) for name, rule in weights if _reads(supernet, rule, size)]
        parts = [rule.axes.reduce(parameters[name].detach().abs() ** power, size) for name, rule in readers or weights]
        scores[size.name] = torch.stack(parts).sum(0).float() ** (1 / power)
    return scores


def _reads(supernet: Supernet, rule: TensorRule, size: Size) -> bool:
    """Whether a weight takes the size's units as input; not if its outputs are derived from them (SE)."""
    axes = rule.axes.axes
    if len(axes) < 2 or size not in axes[1].sizes or size in axes[0].sizes:
        return False
    formulas = (supernet.layout.derived.get(made.name) for made in axes[0].sizes)
    return not any(isinstance(formula, Derived) and size.name in formula.parts for formula in formulas)


def _taylor(supernet: Supernet, batches: Iterable[tuple[Any, Any]], loss: Loss) -> dict[str, Tensor]:
    parameters = {name: p for name, p in supernet.model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ValueError("importance 'taylor' needs gradients, and every parameter is frozen; choose 'l1' or 'l2'")
    sizes = _sizes(supernet)
    scores = {size.name: torch.zeros(size.full) for size in sizes}
    modes = [(module, module.training) for module in supernet.modules()]
    supernet.eval()
    seen = 0
    try:
        with supernet.slicing(), supernet.active(supernet.space.largest):
            for seen, (inputs, targets) in enumerate(batches, 1):  # noqa: B007 - counted for the error below
                value = loss(predict(supernet, inputs), targets)
                found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
                change = {
                    name: (parameter * gradient).detach()
                    for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
                    if gradient is not None
                }
                for size in sizes:
                    scores[size.name] += _first_order(supernet, size, change).cpu()
    finally:
        for module, mode in modes:
            module.training = mode
    if not seen:
        raise ValueError("importance 'taylor' got no batches; it needs (input, target) pairs from the training data")
    return scores


def _first_order(supernet: Supernet, size: Size, change: dict[str, Tensor]) -> Tensor:
    """Σ over layers of |Σ weight · gradient|, a layer's weight and bias together: float32 `(full,)`."""
    layers: dict[str, Tensor] = {}
    for path, name, rule in _scoring(supernet, size):
        key = f"{path}.{name}".lstrip(".")
        if key in change:
            part = rule.axes.reduce(change[key], size).float()
            layers[path] = layers[path] + part if path in layers else part
    return torch.stack([part.abs() for part in layers.values()]).sum(0) if layers else torch.zeros(size.full)


def _scoring(supernet: Supernet, size: Size) -> list[tuple[str, str, TensorRule]]:
    """The tensors that a unit's score is computed from: those that read it, if it spans several channels; else all."""
    bound = list(_bound(supernet, size))
    spans = any(size in axis.factors and axis.full > size.full for _, _, rule in bound for axis in rule.axes.axes)
    readers = [one for one in bound if _reads(supernet, one[2], size)] if spans else []
    return readers or bound
