"""The tensors inside any value: what a model takes and returns, and what its modules keep beside their parameters."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_CLOSED = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, nn.Module)
"""Values that aren't looked into: they hold more than what belongs to the value."""

_CONTAINERS = (Mapping, tuple, list, set, frozenset)


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value, each once, in the order in which the value holds them.

    Looks into mappings, tuples, lists and sets, data classes, and whatever objects hold in `__dict__` or slots; not
    into modules, functions and classes.
    """
    return [found for found in _walk(value, set()) if isinstance(found, Tensor)]


def outputs_of(value: Any) -> list[Tensor]:
    """The tensors that a model gives, or is given: in records, mappings and sequences, not in objects inside these.

    Such objects are a model's own memory, such as a cache of keys and values. If all that is given is an object, or
    there are no other tensors, those that it holds count.
    """
    visible = [found for found in _walk(value, set(), objects=False) if isinstance(found, Tensor)]
    if visible or isinstance(value, _CLOSED):
        return visible
    held = [found for part in _parts(value) for found in _walk(part, set(), objects=False)]
    return [found for found in held if isinstance(found, Tensor)] or tensors_in(value)


def modules_in(value: Any) -> list[nn.Module]:
    """Every module in a value, found as `tensors_in` finds tensors."""
    return [found for found in _walk(value, set()) if isinstance(found, nn.Module)]


def functions_in(value: Any) -> list[FunctionType]:
    """Every function written in Python in a value, found as `tensors_in` finds tensors."""
    return [found for found in _walk(value, set()) if isinstance(found, FunctionType)]


def closed_over(function: FunctionType) -> Iterator[Any]:
    """Values that a function can reach beside its arguments: its closure's cells and its defaults."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that has no value yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()


def _walk(value: Any, seen: set[int], objects: bool = True) -> Iterator[Any]:
    kind = type(value)
    if kind in (int, float, str, bool, bytes, type(None), torch.dtype, torch.device) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (Tensor, nn.Module, FunctionType)):
        yield value
    elif not isinstance(value, _CLOSED) and (objects or isinstance(value, _CONTAINERS) or is_dataclass(value)):
        for part in _parts(value):
            yield from _walk(part, seen, objects)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (tuple, list, set, frozenset)):
        yield from value
    yield from getattr(value, "__dict__", {}).values()
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield getattr(value, name)
