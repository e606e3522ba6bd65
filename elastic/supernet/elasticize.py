"""`elasticize`: an ordinary model in, a supernet out."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from elastic import recipes
from elastic.discovery.discovered import DISCOVERED
from elastic.errors import LayoutError, RecipeError
from elastic.layout.layout import Layout, bind
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Derived, Number, for_name
from elastic.supernet.acceptance import check_model
from elastic.supernet.exactness import conforming
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import describe_inputs
from elastic.support.text import did_you_mean


def elasticize(
    model: nn.Module,
    recipe: str | Recipe | None = None,
    choices: Mapping[str, Sequence[Number] | None] | None = None,
    couple: Mapping[str, str] | None = None,
    width_scaling: bool = False,
    check: bool = True,
    **options: Any,
) -> Supernet:
    """Make `model` a supernet, in place: same module, same `state_dict` keys, same output at full size.

    Args:
        model: an ordinary model, for example from `timm.create_model`.
        recipe: a recipe's name or a `Recipe` of your own; by default the recipe for the model's class. If there is
            none, or it doesn't know some part of the model, the layout is discovered by watching the model run
            (`"discovered"`); `supernet.recipe.notes` then lists the parts that stay fixed, with the reasons.
        choices: choices instead of the recipe's, by kind (`"heads"`), name (`"heads.3"`) or glob: ints are sizes,
            floats are fractions of the full size, None fixes a dim at full size. The full size is always a choice.
        couple: follower → leader, for dims that follow another's choice, by kind, name or glob. With
            `{"mid": "depth"}` blocks are wide if their stage is deep, as in CompOFA (Sahni et al., ICLR 2021):
            when `depth.1` takes its k-th choice, so does `mid.1.0`; with other numbers of choices, the nearest rank.
        width_scaling: multiply the weight of each linear layer and convolution by √(full inputs / active inputs),
            so that outputs and updates are about as large at every width (after Tensor Programs IV and V and
            arXiv:2310.17813); extracted weights include the factor, which is 1 at full size.
        check: compare before returning: values of the full network with the original's, and of a dozen subnets at most
            with what is cut out, on a copy and tiny inputs (see `elastic.supernet.exactness`). A discovered layout is
            corrected by it, and `supernet.recipe.notes` says how; of a `Recipe` of your own it is an error. Recipes of
            this package are compared in its tests instead.
        options: the recipe's own options, such as `kernel_transforms=True` or `resolutions=[128, 224]`. Of a discovered
            one and of a `Recipe`: `example`, what the model's `forward` takes (a tensor of any dtype, a tuple by
            position, or a dict by name; inside, tensors or lists, tuples and dicts of them; the first axis of each
            tensor is the batch), from which everything follows that needs inputs.

    Raises:
        RecipeError: no recipe of that name; or none for this model, which can't be watched either; or an option that
            the recipe doesn't have.
        LayoutError: recipe and model don't fit, or dims can't be coupled; the model is unchanged.
    """
    check_model(model)
    own = isinstance(recipe, Recipe)
    if not isinstance(recipe, Recipe):
        recipe = _make(model, recipe, options)
    elif set(options) == {"example"}:
        recipe = _with_example(model, recipe, options["example"])
    elif options:
        raise RecipeError(f"options {sorted(options)} are for a recipe's name; a Recipe is complete as it is")
    if choices:
        recipe = recipe.with_choices(choices)
    scaled = recipe.width_scaling or width_scaling
    recipe = replace(recipe, couple={**recipe.couple, **(couple or {})}, width_scaling=scaled)
    layout = bind(model, recipe)
    if check and (own or recipe.name == DISCOVERED):
        conforming_recipe = conforming(model, recipe)
        if conforming_recipe is not recipe:
            recipe, layout = conforming_recipe, bind(model, conforming_recipe)
    for key, values in (choices or {}).items():
        _check_offer(layout, key, values)
    if check and not choices and (recipe.layout or not own) and all(dim.name == "resolution" for dim in layout.dims):
        warnings.warn(f"{_nothing_elastic(model, layout, recipe)}", stacklevel=2)
    layout.install(model)
    return Supernet(model, recipe, layout)


def _with_example(model: nn.Module, recipe: Recipe, example: Any) -> Recipe:
    try:
        specs = describe_inputs(model, example)
    except TypeError as error:
        raise RecipeError(f"example of {type(model).__name__}: {error}") from error
    return replace(recipe, inputs=specs, input_size=recipe.input_size or specs[0].shape)


def _nothing_elastic(model: nn.Module, layout: Layout, recipe: Recipe) -> str:
    which = "only the resolution" if layout.dims else "nothing"
    why = next((f"; {where}: {why}" for where, why in recipe.notes.items()), "")
    return (
        f"{which} of this {type(model).__name__} is elastic, so that it has one subnet{why}; elastic.inspect says all. "
        "A part may be elastic alone, such as a detector's backbone: elasticize(detector.backbone, example=...)"
    )


def _check_offer(layout: Layout, key: str, values: Sequence[Number] | None) -> None:
    """Refuse choices that change nothing: they name no dim, or are larger than each of those that they name."""
    free = [size for size in layout.sizes.values() if not isinstance(layout.derived.get(size.name), Derived)]
    full = {size.name: size.full for size in free if for_name(key, size.name)}
    ratios = any(for_name(key, dim.name) for dim in layout.uncoupled)
    if not full and not ratios:
        raise LayoutError(f"choices of {key!r}: the model has no such size; it has {', '.join(s.name for s in free)}")
    above = [value for value in values or () if full and isinstance(value, int) and value > max(full.values())]
    if above:
        own = ", ".join(map(str, sorted(set(full.values()))))
        raise LayoutError(f"choices of {key!r}: {above} exceed the model's own size, {own}; leave them out")


def _make(model: nn.Module, name: str | None, options: Mapping[str, Any]) -> Recipe:
    """The recipe of that name, or the one for the model; if there is none, or it doesn't fit, the discovered one."""
    if name is not None and recipes.registry.by_name(name) is None:
        raise RecipeError(f"no recipe named {name!r}; {did_you_mean(name, recipes.registry.names())}")
    found = name or recipes.registry.find(model)
    if found is None:
        return _call(DISCOVERED, model, options)
    try:
        return _call(found, model, options)
    except LayoutError as refusal:
        if name is not None or set(options) - set(_options(DISCOVERED)):
            raise
        try:
            recipe = _call(DISCOVERED, model, options)
        except (RecipeError, LayoutError):
            raise refusal from None
        return replace(recipe, notes={f"the recipe {found!r}": f"discovered instead: {refusal}", **recipe.notes})


def _call(name: str, model: nn.Module, options: Mapping[str, Any]) -> Recipe:
    known = _options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        cure = did_you_mean(unknown[0], known, f"it has {', '.join(known) or 'none'}")
        raise RecipeError(f"recipe {name!r} has no option {unknown[0]!r}; {cure}")
    function = recipes.registry.by_name(name)
    assert function is not None
    return replace(function(model, **options), name=recipes.registry.current_name(name))


def _options(name: str) -> list[str]:
    return list(inspect.signature(recipes.registry.by_name(name)).parameters)[1:]  # type: ignore[arg-type]
