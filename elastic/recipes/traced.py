"""Any model that takes images: its layout is discovered by watching it run (see `elastic.discovery`).

Elastic, where the model's code can follow: what blocks are added to (embedding or stage widths), widths inside blocks,
heads, groups, kernels of depthwise convolutions, depth of the stages whose blocks are residual, resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from elastic.discovery.trial import keep_what_works
from elastic.discovery.watching import Seen, watch
from elastic.discovery.writing import write_recipe
from elastic.errors import RecipeError
from elastic.recipe import Recipe, register
from elastic.recipe import input_size as configured_size
from elastic.recipes.convnets import Size3
from elastic.recipes.resolution import resolution_rule
from elastic.tracing import copy_placed


@register("traced")
def traced(
    model: nn.Module,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
) -> Recipe:
    """Recipe for a model that has none of its own.

    Args:
        model: the network.
        resolutions: sides of the square input on offer, in pixels; none where the model takes but one.
        input_size: (channels, height, width) of the full-size input, where the model's own configuration says
            another.

    Raises:
        RecipeError: a model whose code can't be followed.
    """
    size = tuple(input_size or configured_size(model))
    twin, inputs, seen = _watched(model, size)
    recipe = write_recipe(twin, seen, size)
    recipe = keep_what_works(_copy(model, inputs), recipe, inputs)
    return _with_resolution(recipe, twin, inputs, resolutions)


def _watched(model: nn.Module, size: Sequence[int]) -> tuple[nn.Module, Tensor, Seen]:
    """A copy, an input for it, and what it showed: without data, unless its code asks for data."""
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    for device in ("meta", "cpu"):
        inputs = torch.zeros(2, *size, device=device, dtype=dtype)
        try:
            twin = _copy(model, inputs)  # a model that has no data itself can't be had with data
            return twin, inputs, watch(twin, inputs)
        except Exception as error:  # noqa: BLE001 - whatever a model's code raises
            problem = error
    reason = str(problem).strip().partition("\n")[0]
    raise RecipeError(
        f"{type(model).__name__} can't be watched on an input of {size}: {reason}; say its shape with input_size=, or "
        "pass recipe=Recipe(layout=..., dims=...)"
    ) from problem


def _copy(model: nn.Module, inputs: Tensor) -> nn.Module:
    return copy_placed(model, lambda tensor: tensor.to(inputs.device))


def _with_resolution(
    recipe: Recipe, twin: nn.Module, inputs: Tensor, resolutions: Sequence[int] | None
) -> Recipe:
    """The recipe with those resolutions that the model runs at."""
    side, width = inputs.shape[-2:]
    if inputs.ndim != 4 or side != width:
        return recipe
    rule = resolution_rule(side, 32 if side >= 128 else 4, resolutions)
    works = all(_runs(twin, inputs[..., :least, :least]) for least in rule.resolve(side))
    if not works:
        if resolutions is not None:
            raise RecipeError(f"{type(twin).__name__} can't run at resolutions {list(resolutions)}; leave them out")
        return replace(recipe, notes={**recipe.notes, "resolution": f"the model takes {side} pixels and no other"})
    return replace(recipe, dims={**recipe.dims, "resolution": rule}, resolution=side)


def _runs(model: nn.Module, inputs: Tensor) -> bool:
    try:
        with torch.no_grad():
            model(inputs)
    except Exception:  # noqa: BLE001 - whatever a model's code raises
        return False
    return True
