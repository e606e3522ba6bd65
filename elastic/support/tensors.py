"""The tensors inside any value: what a model takes and returns, and what its modules keep beside their parameters."""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

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
    for name in _slots(cast(Hashable, type(value))):
        if hasattr(value, name):
            yield getattr(value, name)


@functools.lru_cache(256)
def _slots(kind: Any) -> list[str]:
    """The names of a class's slots."""
    slots = [one.__dict__.get("__slots__", ()) for one in kind.__mro__]
    names = [name for own in slots for name in ((own,) if isinstance(own, str) else own)]
    return [name for name in names if name not in ("__dict__", "__weakref__")]


# --- nested inputs ---------------------------------------------------------------------------------------------------

_HEAD = re.compile(r"[^.\[(]+")
_STEP = re.compile(r"\.(?P<key>[^.\[(]+)|\[\d+\]|\(\d+\)")


def flat(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of nested inputs by name.

    `{"pair": [a, b], "batch": {"x": c}, "sizes": (d,)}` is `{"pair[0]": a, "pair[1]": b, "batch.x": c, "sizes(0)": d}`.

    Raises:
        TypeError: a key that isn't text, or has a character that names are taken apart at; or an empty container.
    """
    return dict(pair for name, value in inputs.items() for pair in _leaves(_checked(name), value))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        inside = [(f"{name}.{_checked(key)}", one) for key, one in value.items()]
    elif type(value) in (list, tuple):
        brackets = "[{}]" if type(value) is list else "({})"
        inside = [(name + brackets.format(at), one) for at, one in enumerate(value)]
    else:
        yield name, value
        return
    if not inside:
        raise TypeError(f"wanted tensors, got an empty {type(value).__name__} in {name}")
    for pair in inside:
        yield from _leaves(*pair)


def _checked(key: Any) -> str:
    if not isinstance(key, str) or not _HEAD.fullmatch(key):
        raise TypeError(f"wanted names without '.', '[' and '(' for inputs, got {key!r}")
    return key


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What was made `flat`.

    Raises:
        ValueError: a name that can't be taken apart.
    """
    parts: dict[str, list[tuple[str, Any]]] = {}
    for name, leaf in leaves.items():
        head = _HEAD.match(name)
        if head is None:
            raise ValueError(f"{name!r} names no input")
        parts.setdefault(head.group(), []).append((name[head.end() :], leaf))
    return {head: _gathered(head, inside) for head, inside in parts.items()}


def _gathered(name: str, found: Sequence[tuple[str, Any]]) -> Any:
    """The value of these leaves, each with the rest of its name."""
    if len(found) == 1 and not found[0][0]:
        return found[0][1]
    parts: dict[str, list[tuple[str, Any]]] = {}
    keys = []
    for rest, leaf in found:
        step = _STEP.match(rest)
        if step is None:
            raise ValueError(f"{name + rest!r} names no input")
        parts.setdefault(step.group(), []).append((rest[step.end() :], leaf))
        keys.append(step["key"])
    values = [_gathered(name + step, inside) for step, inside in parts.items()]
    if all(keys):
        return dict(zip(dict.fromkeys(keys), values, strict=True))
    return tuple(values) if found[0][0].startswith("(") else values
