"""Hooks on every module of a model, to know which one runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

from elastic.support.tensors import tensors_in

Module = TypeVar("Module", bound=nn.Module)

Hook = Callable[..., Any]


@contextmanager
def hooked(
    named: Iterable[tuple[str, nn.Module]], entering: Callable[[str], Hook], leaving: Callable[[str, nn.Module], Hook]
) -> Iterator[None]:
    """Within the block each module's forward calls two hooks, the second one even where the forward raises.

    Args:
        named: the modules, each with its path.
        entering: gives the hook before a module's forward, for its path.
        leaving: gives the hook after it, for its path and itself.
    """
    hooks = []
    for path, module in named:
        hooks.append(module.register_forward_pre_hook(entering(path)))
        hooks.append(module.register_forward_hook(leaving(path, module), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def copy_placed(model: Module, place: Callable[[Tensor], Tensor], memo: dict[int, Any] | None = None) -> Module:
    """A copy in evaluation mode whose parameters and buffers are what `place` makes of the model's: they may be shared.

    Args:
        model: is left alone.
        place: gives the copy's tensor for each of the model's.
        memo: as for `copy.deepcopy`: what else is not to be copied.
    """
    memo = {} if memo is None else memo
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(place(parameter.detach()), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = place(buffer)
    for tensor in tensors_in([module.__dict__ for module in model.modules()]):
        if not tensor.is_leaf:  # kept from a forward pass
            memo[id(tensor)] = place(tensor.detach())
    return copy.deepcopy(model, memo).eval()
