"""Calls of blocks in a forward pass: what goes into each, and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elastic.errors import ProfileError
from elastic.support.inputs import Inputs, run_model

Shape = tuple[int, ...]
"""Shape of one input, without the batch axis."""

Call = tuple[str, int]
"""A call of a block: the path of the module, and how many calls of it came before in the forward pass."""


@dataclass(frozen=True)
class BlockIO:
    """A block's inputs and output.

    Attributes:
        path: path of the block in the full model.
        shapes: shapes of the inputs, without the batch axis.
        dtypes: dtypes of the inputs.
        output: shape of the output, without the batch axis; empty if it isn't a single tensor.
    """

    path: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]
    output: Shape


def calls_of(model: nn.Module, modules: Mapping[str, nn.Module], inputs: Inputs) -> dict[Call, BlockIO]:
    """The calls of these modules in a forward pass, in order, without those inside another of them.

    Args:
        model: runs without gradients.
        modules: by path, each once.
        inputs: of the model.

    Raises:
        ProfileError: a module is called with more than tensors by position.
    """
    found: dict[Call, BlockIO] = {}
    times: Counter[str] = Counter()
    running: list[str] = []

    def leaving(path: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            running.pop()
            if not running:
                found[path, times[path]] = _described(path, args, kwargs, output)
                times[path] += 1

        return leave

    def entering(path: str) -> Callable[..., None]:
        return lambda module, args: running.append(path)

    with ExitStack() as hooks, torch.inference_mode(False), torch.no_grad():
        for path, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(entering(path)).remove)
            hooks.callback(module.register_forward_hook(leaving(path), with_kwargs=True).remove)
        run_model(model, inputs)
    return found


def _described(path: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> BlockIO:
    if kwargs or not all(isinstance(value, Tensor) for value in args):
        raise ProfileError(
            f"{path!r} is called with more than tensors by position, and can't be measured alone; measure whole "
            "subnets (--subnets)"
        )
    shapes = tuple(tuple(value.shape[1:]) for value in args)
    output_shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
    return BlockIO(path, shapes, tuple(value.dtype for value in args), output_shape)
