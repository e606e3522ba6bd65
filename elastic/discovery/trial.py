"""Trying a discovered recipe: sizes that the model's code can't follow are fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from elastic.errors import first_line
from elastic.layout.layout import Layout, bind
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Number
from elastic.support.tensors import tensors_in

TryDims = Callable[[Mapping[str, Number]], str]
"""Runs the model with these values of the dims and all others at full size; returns the problem, or an empty text."""


def keep_what_works(model: nn.Module, recipe: Recipe, inputs: Tensor) -> Recipe:
    """Remove the choices from a recipe with which the model can't run.

    Args:
        model: a copy that may be changed; on the meta device if `inputs` is.
        recipe: as discovered.
        inputs: a batch.

    Returns:
        The recipe, with a note for each size that it fixes.

    Raises:
        LayoutError: the recipe doesn't fit the model at all.
    """
    layout = bind(model, recipe)
    layout.install(model)
    attempt = _attempts(model, layout, inputs)
    smallest = {dim.name: dim.choices[0] for dim in layout.dims}
    wrong: dict[str, str] = {}
    if attempt(smallest):
        for name, least in smallest.items():
            problem = attempt({name: least})
            if problem:
                wrong[name] = problem
        right = {name: least for name, least in smallest.items() if name not in wrong}
        wrong |= _clashes(attempt, right)
    if not wrong:
        return recipe
    notes = {**recipe.notes, **{name: f"the model can't run with less of it: {why}" for name, why in wrong.items()}}
    return replace(recipe.with_choices(dict.fromkeys(wrong)), notes=notes)


def _clashes(attempt: TryDims, right: Mapping[str, Number]) -> dict[str, str]:
    """Sizes that work alone but not together, with the problem; the first of them stay elastic."""
    if not attempt(right):
        return {}
    elastic: dict[str, Number] = {}
    wrong = {}
    for name, least in right.items():
        problem = attempt({**elastic, name: least})
        if problem:
            wrong[name] = problem
        else:
            elastic[name] = least
    return wrong


def _attempts(model: nn.Module, layout: Layout, inputs: Tensor) -> TryDims:
    full = {dim.name: dim.full for dim in layout.dims}

    def shapes() -> list[torch.Size]:
        with torch.no_grad():
            return [tensor.shape for tensor in tensors_in(model(inputs))]

    wanted = shapes()
    modules = dict(model.named_modules())
    buffers = {(path, name): stored for path in modules for name, stored in modules[path]._buffers.items()}

    def replaced() -> str:
        """Restore all buffers; the problem if the model's code had replaced one by its active part."""
        found = ""
        for (path, name), stored in buffers.items():
            own = modules[path]._buffers
            if stored is not None and (now := own[name]) is not None and now.shape != stored.shape:
                found = found or f"its code replaces {'.'.join(filter(None, (path, name)))}"
            own[name] = stored
        return found

    def attempt(values: Mapping[str, Number]) -> str:
        layout.set({**full, **values})
        try:
            found = shapes()
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything
            return first_line(error)
        finally:
            layout.set(full)
            changed = replaced()
        if changed:
            return changed
        return "" if found == wanted else f"it gives {list(map(tuple, found))} instead of {list(map(tuple, wanted))}"

    return attempt
