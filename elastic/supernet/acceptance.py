"""Check that a model can be made elastic: it must be an ordinary module tree, or it is refused unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from elastic.errors import RecipeError
from elastic.layers.modules import Elastic
from elastic.support.tensors import closed_over, functions_in, modules_in, tensors_in


def check_model(model: nn.Module) -> None:
    """Check that a model is an ordinary module tree, whose parts can be made elastic and cut out.

    Raises:
        RecipeError: no model, an elastic one, a compiled, scripted or wrapped one, one whose parameters have no shape
            yet, or one with functions of its own that hold on to its parts.
    """
    if not isinstance(model, nn.Module):
        raise RecipeError(f"wanted a model, such as timm.create_model(NAME) gives, got {model!r}")
    name = type(model).__name__
    for path, module in model.named_modules():
        where = f"{path} in this {name}" if path else f"this {name}"
        if isinstance(module, Elastic):
            raise RecipeError(f"this {name} is elastic already: keep its supernet, or take a fresh one")
        _check_kind(module, where)
        lazy = [key for key, one in module._parameters.items() if one is not None and is_lazy(one)]
        if lazy:
            raise RecipeError(f"{where} has parameters without a shape, {lazy[0]}: run it once on an input, then again")
    _check_functions(model)


def _check_kind(module: nn.Module, where: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise RecipeError(
            f"{where} is scripted (torch.jit): give the module that it was made of, and script the subnet"
        )
    if isinstance(module, torch._dynamo.OptimizedModule):
        raise RecipeError(f"{where} is compiled: give the module inside (._orig_mod), and compile the subnet")
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise RecipeError(f"{where} is wrapped in {type(module).__name__}: give the module inside, .module")


def _check_functions(model: nn.Module) -> None:
    """Refuse functions that hold parts of the model in their closure: a copy of the model would go on using those."""
    parts = {id(one) for one in (*model.modules(), *model.parameters())}
    for module in model.modules():
        for name, value in module.__dict__.items():
            if name not in ("_parameters", "_buffers", "_modules") and _holds(value, parts):
                raise RecipeError(
                    f"{type(module).__name__} has a function of its own, in {name}, that holds on to its parts "
                    "in its closure, so that what is cut out would still use them; remove it, or make it a method"
                )


def _holds(value: Any, parts: set[int]) -> bool:
    cells = (cell for function in functions_in(value) for cell in closed_over(function))
    return any(id(one) in parts for cell in cells for one in (*modules_in(cell), *tensors_in(cell)))
