"""Extraction: the same module tree with plain classes, cloned active tensors, and sizes as plain numbers.

It reads through the same properties as a forward pass, so the extracted subnet is the one that was evaluated. Only
the active slices are copied. Parameters come first: whatever else refers to one, such as a list of parameters, refers
to the copy's own in the copy.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn

from elastic.errors import LayoutError
from elastic.layers.modules import Elastic, upstream_class
from elastic.layers.read_rules import DEPTH, DepthRule, TensorRule, helper_names
from elastic.support.tensors import tensors_in

_IMMUTABLE = {int, float, str, bytes, bool, type(None), torch.dtype, torch.device}
_IMMUTABLE |= {type, BuiltinFunctionType, FunctionType}
_TABLES = {dict, OrderedDict, set, list}
_OWN = {"_parameters", "_buffers", "_modules", "_elastic", "_compiled_call_impl"}


def cut_out(model: nn.Module, share: bool = False) -> nn.Module:
    """A plain copy of the active subnet of an elastic `model`, sharing no memory with it.

    Modules, parameters and buffers that occur several times are shared in the copy as well. Lists, dictionaries and
    sets lose their references to what depth leaves out.

    Args:
        model: the elastic model.
        share: let parameters be views of the model's wherever the active part is a plain view.

    Raises:
        LayoutError: an attribute that refers to a module or a parameter which depth leaves out.
    """
    memo: dict[int, Any] = {}
    active = active_modules(model)
    with torch.no_grad():
        for module in active:
            plain = upstream_class(module)
            memo[id(module)] = plain.__new__(plain)
        for module in active:
            _fill_tensors(memo[id(module)], module, memo, share)
        attributes = _Attributes(memo, _left_out(model, memo))
        for module in active:
            _fill(memo[id(module)], module, attributes)
    clone: nn.Module = memo[id(model)]
    return clone


def _left_out(model: nn.Module, memo: dict[int, Any]) -> set[int]:
    """The ids of the modules, parameters and buffers that the copy lacks."""
    found: set[int] = set()
    for module in model.modules():
        if id(module) not in memo:
            found.add(id(module))
            tensors = (*module._parameters.values(), *module._buffers.values())
            found |= {id(tensor) for tensor in tensors if tensor is not None and id(tensor) not in memo}
    return found


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


def _rules(module: nn.Module) -> dict[str, Any]:
    return module._elastic if isinstance(module, Elastic) else {}


def _fill_tensors(clone: nn.Module, module: nn.Module, memo: dict[int, Any], share: bool) -> None:
    helpers = helper_names(_rules(module))
    clone.__dict__["_parameters"] = {
        name: _copied_tensor(module, name, parameter, memo, share)
        for name, parameter in module._parameters.items()
        if name not in helpers
    }
    clone.__dict__["_buffers"] = {
        name: _copied_tensor(module, name, buffer, memo) for name, buffer in module._buffers.items()
    }


def _fill(clone: nn.Module, module: nn.Module, attributes: _Attributes) -> None:
    state = clone.__dict__
    for name, value in module.__dict__.items():
        if name not in _OWN:
            state[name] = attributes.of(value, name, module)
    for name, rule in _rules(module).items():
        if not isinstance(rule, (TensorRule, DepthRule)):
            value = rule.read(module, name)
            state[name] = list(value) if isinstance(module.__dict__[name], list) else value
    state["_modules"] = {
        name: None if child is None else attributes.memo[id(child)] for name, child in _active_children(module).items()
    }
    if isinstance(clone, nn.RNNBase):  # it holds its parameters in a list, too, which may hold the supernet's slices
        clone._init_flat_weights()
    if isinstance(clone, fx.GraphModule):  # its class has no forward yet, which is made of the graph
        clone.graph = state["_graph"]


class _Attributes:
    """Copies what a module holds beside its tensors and children."""

    def __init__(self, memo: dict[int, Any], gone: set[int]) -> None:
        self.memo = memo
        self.gone = gone

    def of(self, value: Any, name: str, module: nn.Module) -> Any:
        """The copy of the value of a module's attribute.

        Raises:
            LayoutError: it refers to what isn't there in the copy, from a place that can't do without.
        """
        try:
            return self._copied(value)
        except _GoneError as gone:
            raise LayoutError(
                f"{upstream_class(module).__name__}.{name} refers to a {gone} that this subnet's depth leaves out; "
                "keep it in a list, or leave the depth at full size: choices={'depth': None}"
            ) from None

    def _copied(self, value: Any) -> Any:
        """A deep copy. `copy.deepcopy` is slow for the many plain values of a module, so those are handled here."""
        kind = type(value)
        if kind in _IMMUTABLE or (kind is tuple and all(type(item) in _IMMUTABLE for item in value)):
            return value
        if kind in _TABLES and not value:  # most of a module's hook tables
            return kind()
        if id(value) in self.memo:
            return self.memo[id(value)]
        if id(value) in self.gone:
            raise _GoneError(upstream_class(value).__name__ if isinstance(value, nn.Module) else type(value).__name__)
        if kind in (tuple, set):
            return kind(self._copied(item) for item in value if id(item) not in self.gone)
        return self._container(value) if kind in _TABLES else self._deep(value)

    def _container(self, value: Any) -> Any:
        """A list or dictionary, which may hold itself."""
        made = self.memo[id(value)] = type(value)()
        if isinstance(made, list):
            made += [self._copied(item) for item in value if id(item) not in self.gone]
        else:
            made.update((key, self._copied(item)) for key, item in value.items() if id(item) not in self.gone)
        return made

    def _deep(self, value: Any) -> Any:
        if isinstance(value, Tensor) and not value.is_leaf:  # kept from a forward pass
            return value.detach().clone()
        for tensor in tensors_in(value):
            if id(tensor) in self.gone:
                raise _GoneError("parameter or buffer")
            if not tensor.is_leaf and id(tensor) not in self.memo:
                self.memo[id(tensor)] = tensor.detach().clone()
        return copy.deepcopy(value, self.memo)


class _GoneError(Exception):
    """A value refers to what the copy lacks."""


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
