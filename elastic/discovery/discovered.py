"""The recipe `"discovered"`, for any model of images or token ids: its layout is found by watching it run.

Elastic, as far as the model's code can follow: the residual stream (embedding or stage widths), widths inside blocks,
heads, groups, kernels of depthwise convolutions, depth of the stages whose blocks are residual, resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from elastic.discovery.trial import keep_what_works
from elastic.discovery.watching import Observations, watch
from elastic.discovery.writing import write_recipe
from elastic.errors import RecipeError
from elastic.layout.recipe import Recipe, register_recipe
from elastic.layout.saved import register_code
from elastic.recipes.resolution import resolution_rule
from elastic.support.hooks import copy_placed
from elastic.support.inputs import BATCH_OF_SINGLE_INPUTS, Inputs, describe_inputs, inputs_of, tensors_of
from elastic.support.quiet import quiet
from elastic.upstream import library_of
from elastic.upstream.library import Size3

DISCOVERED = "discovered"
"""The name of the recipe for models that have no other."""


@register_recipe(DISCOVERED)
def discovered(
    model: nn.Module,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
    length: int | None = None,
    example: Any = None,
) -> Recipe:
    """Recipe for a model that has no other.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels; by default four, if the model takes them.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.
        length: for text, number of tokens that costs are counted on; 128 by default, or fewer if the model takes fewer.

        example: what the model's `forward` takes, where that is no image and no text alone: a tensor of any dtype, a
            tuple by position, or a dict by name; what is inside may be a list, a tuple or a dict of tensors, and the
            first axis of each tensor is the batch.

    Raises:
        RecipeError: a model whose code can't be watched, an example that isn't one, or options for other inputs.
        LayoutError: a length that the model doesn't take.
    """
    words, name = library_of(model).vocabulary, type(model).__name__
    if example is not None:
        if (resolutions, input_size, length) != (None, None, None):
            raise RecipeError("example= says the shapes: leave resolutions, input_size and length out")
        return _of_example(model, example)
    if words is None:
        if length is not None:
            raise RecipeError(f"length={length} is for text, and {name} isn't a model of transformers that reads text")
        images: tuple[int, ...] = tuple(input_size or library_of(model).image_size)
        if not all(isinstance(length, int) for length in images):
            raise RecipeError(f"input_size={images}: wanted the shape of one tensor; for several give example=")
        recipe, watched, inputs = _found(model, images, None)
        return _with_resolution(recipe, watched, inputs, resolutions)
    if resolutions is not None or input_size is not None:
        raise RecipeError(f"{name} takes text, which has no resolutions and no input_size; pass length, in tokens")
    recipe, *_ = _found(model, (library_of(model).text_length(length),), words)
    return replace(recipe, vocabulary=words, settle=_settling(model, recipe))


def _of_example(model: nn.Module, example: Any) -> Recipe:
    try:
        specs = describe_inputs(model, example)
    except TypeError as error:
        raise RecipeError(f"example of {type(model).__name__}: {error}") from error
    shape = specs[0].shape

    def inputs(n: int, device: str, dtype: torch.dtype | None) -> Inputs:
        return inputs_of(specs, n, device, None if device == "meta" else 0)

    with quiet():
        copied, batch, observed = _watched(model, shape, None, inputs, shaped=False)
        recipe = keep_what_works(_copy(model, batch), write_recipe(copied, observed, shape), batch)
    vocabulary = library_of(model).vocabulary
    settle = None if vocabulary is None else _settling(model, recipe)
    return replace(recipe, inputs=specs, vocabulary=vocabulary, settle=settle)


def _found(model: nn.Module, size: Sequence[int], vocabulary: int | None) -> tuple[Recipe, nn.Module, Tensor]:
    """The recipe, and the copy and the input with which it was found."""

    def zeros(n: int, device: str, dtype: torch.dtype | None) -> Tensor:
        return torch.zeros(n, *size, device=device, dtype=dtype if vocabulary is None else torch.int64)

    with quiet():  # transformers has advice for people who leave the mask out
        copied, inputs, observed = _watched(model, size, vocabulary, zeros)
        recipe = write_recipe(copied, observed, size)
        return keep_what_works(_copy(model, inputs), recipe, inputs), copied, inputs


_Given = TypeVar("_Given", bound=Inputs)


def _watched(
    model: nn.Module,
    size: Sequence[int],
    vocabulary: int | None,
    make: Callable[[int, str, torch.dtype | None], _Given],
    shaped: bool = True,
) -> tuple[nn.Module, _Given, Observations]:
    """A copy, an input for it, and the observations: without data, unless the model's code asks for data.

    `shaped`: inputs follow from a shape alone, not from an example.
    """
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    attempts, problems = [(2, "meta"), (2, "cpu")], []
    if vocabulary is not None:
        attempts.append((1, "cpu"))  # without a token for padding, some models refuse several texts
    for n, device in attempts:
        inputs = make(n, device, dtype)
        try:
            copied = _copy(model, inputs)  # fails on the CPU for a model that is on the meta device itself
            try:
                return copied, inputs, watch(copied, inputs)
            except KeyError:
                copied = _copy(model, inputs)
                return copied, inputs, watch(copied, inputs, numbers=False)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything
            problems.append(error)
    problem, name = problems[1], type(model).__name__
    reason = str(problem).strip().partition("\n")[0]
    if vocabulary is not None:
        raise RecipeError(
            f"{name} can't be run on a text of {size[0]} tokens alone, without other inputs: {reason}; change its "
            "configuration, or pass recipe=Recipe(layout=..., dims=...)"
        ) from problem
    what, cure = (f"an input of shape {size}", _NAME_THE_INPUT) if shaped else ("a batch of 2 like the example", _BATCH)
    raise RecipeError(f"{name} can't be run on {what}: {reason}; {cure}") from problem


_NAME_THE_INPUT = (
    "give its shape as input_size=, or what its forward takes as example= (a tensor of any dtype, a tuple, or a dict "
    "by name)"
)
_BATCH = f"the first axis of each tensor is the batch, inside lists and dicts, too: {BATCH_OF_SINGLE_INPUTS}"


def _copy(model: nn.Module, inputs: Inputs) -> nn.Module:
    device = tensors_of(inputs)[0].device
    copied = copy_placed(model, lambda tensor: tensor.to(device))
    library_of(copied).prepare_to_watch()
    return copied


# --- images ----------------------------------------------------------------------------------------------------------


def _with_resolution(recipe: Recipe, copied: nn.Module, inputs: Tensor, resolutions: Sequence[int] | None) -> Recipe:
    """The recipe with resolutions, if the model runs at them."""
    side, width = inputs.shape[-2:]
    if inputs.ndim != 4 or side != width:
        return recipe
    rule = resolution_rule(side, 32 if side >= 128 else 4, resolutions)
    works = all(_runs(copied, inputs[..., :least, :least]) for least in rule.resolve(side))
    if not works:
        if resolutions is not None:
            raise RecipeError(f"{type(copied).__name__} can't run at resolutions {list(resolutions)}; leave them out")
        return replace(recipe, notes={**recipe.notes, "resolution": f"the model takes {side} pixels only"})
    return replace(recipe, dims={**recipe.dims, "resolution": rule}, resolution=side)


def _runs(model: nn.Module, inputs: Tensor) -> bool:
    try:
        with torch.no_grad():
            model(inputs)
    except Exception:  # noqa: BLE001 - a model's code may raise anything
        return False
    return True


# --- text ------------------------------------------------------------------------------------------------------------


@register_code("depth_setting")
@dataclass(frozen=True)
class DepthSetting:
    """Restates the number of layers in an extracted model's configuration, which is read when text is generated.

    Attributes:
        layers: path of the container of layers.
    """

    layers: str

    def __call__(self, model: nn.Module) -> None:
        """Count the layers, and number them."""
        library_of(model).set_depth(model.get_submodule(self.layers))  # type: ignore[arg-type]


def _settling(model: nn.Module, recipe: Recipe) -> DepthSetting | None:
    """The setting of depth, if one container of the layout has as many layers as the configuration says."""
    config: Any = model.config
    stacks = [path for path, axes in recipe.layout.items() if axes == "depth" or axes.startswith("depth.")]
    if len(stacks) != 1 or len(model.get_submodule(stacks[0])) != getattr(config, "num_hidden_layers", None):  # type: ignore[arg-type]
        return None
    return DepthSetting(stacks[0])
