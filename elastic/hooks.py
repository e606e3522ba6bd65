"""Hooks on every module of a model, to know which one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Hook = Callable[..., Any]


@contextmanager
def hooked(
    model: nn.Module, entering: Callable[[str], Hook], leaving: Callable[[str, nn.Module], Hook]
) -> Iterator[None]:
    """Within the block each module's forward calls two hooks, the second one even where the forward raises.

    Args:
        model: whose modules.
        entering: gives the hook before a module's forward, for its path.
        leaving: gives the hook after it, for its path and itself.
    """
    hooks = []
    for path, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(entering(path)))
        hooks.append(module.register_forward_hook(leaving(path, module), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
