"""The tensors inside any value: what a model takes and returns, and what its modules keep beside their parameters."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_CLOSED = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, nn.Module)
"""Values that aren't looked into: they hold more than what belongs to the value."""


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value, each once, in the order in which the value holds them.

    Looks into mappings, tuples, lists and sets, data classes, and whatever objects hold in `__dict__` or slots; not
    into modules, functions and classes.
    """
    return [found for found in _walk(value, set()) if isinstance(found, Tensor)]


def modules_in(value: Any) -> list[nn.Module]:
    """Every module in a value, found as `tensors_in` finds tensors."""
    return [found for found in _walk(value, set()) if isinstance(found, nn.Module)]


def closed_over(function: Any) -> Iterator[Any]:
    """Values that a function can reach beside its arguments: its closure's cells and its defaults."""
    for one in _functions(function):
        for cell in one.__closure__ or ():
            with suppress(ValueError):  # a name that has no value yet
                yield cell.cell_contents
        yield from one.__defaults__ or ()
        yield from (one.__kwdefaults__ or {}).values()


def _functions(function: Any) -> Iterator[FunctionType]:
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if isinstance(function, FunctionType):
        yield function


def _walk(value: Any, seen: set[int]) -> Iterator[Any]:
    kind = type(value)
    if kind in (int, float, str, bool, bytes, type(None), torch.dtype, torch.device) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (Tensor, nn.Module)):
        yield value
    elif not isinstance(value, _CLOSED):
        for part in _parts(value):
            yield from _walk(part, seen)


def _parts(value: Any) -> Iterator[Any]:
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
