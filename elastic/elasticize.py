"""`elasticize`: an ordinary model in, a supernet out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from elastic import recipes
from elastic.errors import RecipeError
from elastic.layers import Elastic
from elastic.layout import bind
from elastic.recipe import Recipe
from elastic.sizes import Number
from elastic.supernet import Supernet


def elasticize(
    model: nn.Module,
    recipe: str | Recipe | None = None,
    choices: Mapping[str, Sequence[Number] | None] | None = None,
    **options: Any,
) -> Supernet:
    """Make `model` a supernet, in place: same module, same `state_dict` keys, same output at full size.

    Args:
        model: an ordinary model, for example from `timm.create_model`.
        recipe: a recipe's name or a `Recipe` of your own; found by the model's class by default.
        choices: what to offer instead of the recipe's choices, by kind (`"heads"`), name (`"heads.3"`) or
            glob: ints are sizes, floats fractions of the full size, None leaves a dim at full size. The full
            size is always a choice.
        options: the recipe's own options, such as `kernel_transforms=True` or `resolutions=[128, 224]`.

    Raises:
        RecipeError: no recipe for this model, none of that name, or an option that it doesn't have.
        LayoutError: recipe and model don't fit; the model is unchanged.
    """
    if any(isinstance(module, Elastic) for module in model.modules()):
        raise RecipeError(f"this {type(model).__name__} is elastic already: keep its supernet, or take a fresh one")
    if not isinstance(recipe, Recipe):
        recipe = _make(model, recipe, options)
    elif options:
        raise RecipeError(f"options {sorted(options)} are for a recipe's name; a Recipe is complete as it is")
    if choices:
        recipe = recipe.with_choices(choices)
    layout = bind(model, recipe)
    layout.install(model)
    return Supernet(model, recipe, layout)


def _make(model: nn.Module, name: str | None, options: Mapping[str, Any]) -> Recipe:
    found = name or recipes.registry.find(model)
    if found is None:
        raise RecipeError(
            f"no recipe for {type(model).__module__}.{type(model).__qualname__}; there are "
            f"{', '.join(recipes.registry.names())}. Pass recipe=Recipe(layout=..., dims=...) to add yours"
        )
    function = recipes.registry.by_name(found)
    if function is None:
        raise RecipeError(f"no recipe named {found!r}; there are {', '.join(recipes.registry.names())}")
    known = list(inspect.signature(function).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise RecipeError(f"recipe {found!r} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    return function(model, **options)
