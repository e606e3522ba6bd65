"""Any model that takes images, or token ids: its layout is discovered by watching it run (see `elastic.discovery`).

Elastic, where the model's code can follow: what blocks are added to (embedding or stage widths), widths inside blocks,
heads, groups, kernels of depthwise convolutions, depth of the stages whose blocks are residual, resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from elastic.discovery.trial import keep_what_works
from elastic.discovery.watching import Seen, watch
from elastic.discovery.writing import write_recipe
from elastic.errors import RecipeError
from elastic.layout.recipe import Recipe, register_recipe
from elastic.layout.saved import register_code
from elastic.recipes.resolution import resolution_rule
from elastic.support.hooks import copy_placed
from elastic.support.quiet import quiet
from elastic.upstream import library_of
from elastic.upstream.library import Size3


@register_recipe("traced")
def traced(
    model: nn.Module,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
    length: int | None = None,
) -> Recipe:
    """Recipe for a model that has none of its own: of images, or of transformers and taking token ids.

    Args:
        model: the network.
        resolutions: sides of the square input on offer, in pixels; none where the model takes but one.
        input_size: (channels, height, width) of the full-size input, where the model's own configuration says
            another.
        length: of text: how many tokens costs are counted on; 128 by default, or as many as the model takes.

    Raises:
        RecipeError: a model whose code can't be followed, or options for another kind of input.
        LayoutError: a length that the model doesn't take.
    """
    words, name = library_of(model).vocabulary, type(model).__name__
    if words is None:
        if length is not None:
            raise RecipeError(f"length={length} is for text, and {name} isn't a model of transformers that takes any")
        images: tuple[int, ...] = tuple(input_size or library_of(model).image_size)
        recipe, twin, inputs = _discovered(model, images, None)
        return _with_resolution(recipe, twin, inputs, resolutions)
    if resolutions is not None or input_size is not None:
        raise RecipeError(f"{name} takes text, which has no resolutions and no input_size; pass length, in tokens")
    recipe, *_ = _discovered(model, (library_of(model).text_length(length),), words)
    return replace(recipe, vocabulary=words, settle=_settling(model, recipe))


def _discovered(
    model: nn.Module, size: Sequence[int], vocabulary: int | None
) -> tuple[Recipe, nn.Module, Tensor]:
    """The recipe, and the copy and the input that it was found with."""
    with quiet():  # transformers has advice for people who leave the mask out
        twin, inputs, seen = _watched(model, size, vocabulary)
        recipe = write_recipe(twin, seen, size)
        return keep_what_works(_copy(model, inputs), recipe, inputs), twin, inputs


def _watched(model: nn.Module, size: Sequence[int], vocabulary: int | None) -> tuple[nn.Module, Tensor, Seen]:
    """A copy, an input for it, and what it showed: without data, unless its code asks for data."""
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    ways, problems = [(2, "meta"), (2, "cpu")], []
    if vocabulary is not None:
        ways.append((1, "cpu"))  # without a token for padding, some models refuse several texts
    for n, device in ways:
        inputs = torch.zeros(n, *size, device=device, dtype=dtype if vocabulary is None else torch.int64)
        try:
            twin = _copy(model, inputs)  # a model that has no data itself can't be had with data
            return twin, inputs, watch(twin, inputs)
        except Exception as error:  # noqa: BLE001 - whatever a model's code raises
            problems.append(error)
    problem, name = problems[1], type(model).__name__
    reason = str(problem).strip().partition("\n")[0]
    if vocabulary is not None:
        raise RecipeError(
            f"{name} can't be watched on a text of {size[0]} tokens, which must be all that it needs: {reason}; mend "
            "that in its configuration, or pass recipe=Recipe(layout=..., dims=...)"
        ) from problem
    raise RecipeError(
        f"{name} can't be watched on an input of {size}: {reason}; say its shape with input_size=, or pass "
        "recipe=Recipe(layout=..., dims=...)"
    ) from problem


def _copy(model: nn.Module, inputs: Tensor) -> nn.Module:
    copied = copy_placed(model, lambda tensor: tensor.to(inputs.device))
    library_of(copied).prepare_to_watch()
    return copied


# --- images ----------------------------------------------------------------------------------------------------------


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


# --- text ------------------------------------------------------------------------------------------------------------


@register_code("depth_setting")
@dataclass(frozen=True)
class DepthSetting:
    """Restates how many layers an extracted model has in its configuration: generating text looks there."""

    layers: str

    def __call__(self, model: nn.Module) -> None:
        """Count the layers at the path `layers`, and number them."""
        library_of(model).set_depth(model.get_submodule(self.layers))  # type: ignore[arg-type]


def _settling(model: nn.Module, recipe: Recipe) -> DepthSetting | None:
    """Where the configuration says how many layers there are, and one container of the layout holds them."""
    config: Any = model.config
    stacks = [path for path, axes in recipe.layout.items() if axes == "depth" or axes.startswith("depth.")]
    if len(stacks) != 1 or len(model.get_submodule(stacks[0])) != getattr(config, "num_hidden_layers", None):  # type: ignore[arg-type]
        return None
    return DepthSetting(stacks[0])


TRACED = "traced"
"""The recipe for whatever has none of its own."""
