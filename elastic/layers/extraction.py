"""Extraction: the same module tree with plain classes, cloned active tensors, and sizes as plain numbers.

It reads through the same properties as a forward pass, so the extracted subnet is the one that was evaluated. Only
the active slices are copied.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from elastic.layers.modules import Elastic, upstream_class
from elastic.layers.read_rules import DEPTH, DepthRule, TensorRule, helper_names

_IMMUTABLE = {int, float, str, bytes, bool, type(None), torch.dtype, torch.device}
_IMMUTABLE |= {type, BuiltinFunctionType, FunctionType}
_TABLES = {dict, OrderedDict, set, list}
_OWN = {"_parameters", "_buffers", "_modules", "_elastic", "_compiled_call_impl"}


def cut_out(model: nn.Module, share: bool = False) -> nn.Module:
    """A plain copy of the active subnet of an elastic `model`, sharing no memory with it.

    Modules, parameters and buffers that occur several times are shared in the copy as well.

    Args:
        model: the elastic model.
        share: let parameters be views of the model's wherever the active part is a plain view.
    """
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for module in active_modules(model):
            plain = upstream_class(module)
            memo[id(module)] = plain.__new__(plain)
        for module in active_modules(model):
            _fill(memo[id(module)], module, memo, share)
    clone: nn.Module = memo[id(model)]
    return clone


def _active_children(module: nn.Module) -> dict[str, nn.Module | None]:
    """The children that run, by their names in the copy: numbered children are renumbered."""
    rule = module._elastic.get(DEPTH) if isinstance(module, Elastic) else None
    if not isinstance(rule, DepthRule):
        return module._modules
    kept = rule.active(module)
    names = [name for name, child in module._modules.items() if any(child is one for one in kept)]
    if all(name.isdecimal() for name in names):
        names = [str(number) for number in range(len(kept))]
    return dict(zip(names, kept, strict=True))


def active_modules(module: nn.Module) -> list[nn.Module]:
    """The module, and all modules inside it that run in the active subnet."""
    found: dict[int, nn.Module] = {}

    def visit(one: nn.Module) -> None:
        if id(one) not in found:
            found[id(one)] = one
            for child in _active_children(one).values():
                if child is not None:
                    visit(child)

    visit(module)
    return list(found.values())


def _fill(clone: nn.Module, module: nn.Module, memo: dict[int, Any], share: bool) -> None:
    rules = module._elastic if isinstance(module, Elastic) else {}
    state = clone.__dict__
    for name, value in module.__dict__.items():
        if name not in _OWN:
            state[name] = _copied(value, memo)
    for name, rule in rules.items():
        if not isinstance(rule, (TensorRule, DepthRule)):
            value = rule.read(module, name)
            state[name] = list(value) if isinstance(module.__dict__[name], list) else value  # type: ignore[arg-type]
    state["_modules"] = {
        name: None if child is None else memo[id(child)] for name, child in _active_children(module).items()
    }
    helpers = helper_names(rules)
    state["_parameters"] = {
        name: _copied_tensor(module, name, parameter, memo, share)
        for name, parameter in module._parameters.items()
        if name not in helpers
    }
    state["_buffers"] = {name: _copied_tensor(module, name, buffer, memo) for name, buffer in module._buffers.items()}
    if isinstance(clone, nn.RNNBase):  # it holds its parameters in a list, too, which may hold the supernet's slices
        clone._init_flat_weights()


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy. `copy.deepcopy` is slow for the many plain values of a module, so those are handled here."""
    kind = type(value)
    if kind in _IMMUTABLE or (kind is tuple and all(type(item) in _IMMUTABLE for item in value)):
        return value
    if kind in _TABLES and not value:  # most of a module's hook tables
        return kind()
    if kind is list and any(isinstance(item, Tensor) for item in value):
        return [_copied(item, memo) for item in value]
    if isinstance(value, Tensor) and not value.is_leaf:  # kept from a forward pass
        return value.detach().clone()
    return copy.deepcopy(value, memo)


def _copied_tensor(
    module: nn.Module, name: str, stored: Tensor | None, memo: dict[int, Any], share: bool = False
) -> Any:
    """The active part of a parameter or buffer, as a parameter or a plain tensor like the original."""
    if stored is None:
        return None
    if id(stored) not in memo:
        active: Tensor = getattr(module, name).detach()
        active = active if share else active.clone()
        is_parameter = isinstance(stored, nn.Parameter)
        memo[id(stored)] = nn.Parameter(active, stored.requires_grad) if is_parameter else active
    return memo[id(stored)]
