"""Trying what was discovered: sizes that the model's code can't follow stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.errors import first_line
from elastic.layout.layout import Layout, bind
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Number

Run = Callable[[Mapping[str, Number]], str]
"""Runs the model with these values of the dims, all others at full size: what went wrong, or nothing."""


def keep_what_works(model: nn.Module, recipe: Recipe, inputs: Tensor) -> Recipe:
    """The recipe without the choices that the model can't run with.

    Args:
        model: a copy that may be spoilt, without data where `inputs` has none.
        recipe: what was discovered.
        inputs: a batch.

    Raises:
        LayoutError: a recipe that doesn't fit the model at all.
    """
    layout = bind(model, recipe)
    layout.install(model)
    run = _runner(model, layout, inputs)
    smallest = {dim.name: dim.choices[0] for dim in layout.dims}
    wrong: dict[str, str] = {}
    if run(smallest):
        for name, least in smallest.items():
            problem = run({name: least})
            if problem:
                wrong[name] = problem
        right = {name: least for name, least in smallest.items() if name not in wrong}
        wrong |= _together(run, right)
    if not wrong:
        return recipe
    notes = {**recipe.notes, **{name: f"the model can't run with less of it: {why}" for name, why in wrong.items()}}
    kept = recipe.with_choices(dict.fromkeys(wrong))
    return replace(kept, notes=notes)


def _together(run: Run, right: Mapping[str, Number]) -> dict[str, str]:
    """Which sizes, each well alone, don't go together; the first ones stay elastic."""
    if not run(right):
        return {}
    kept: dict[str, Number] = {}
    wrong = {}
    for name, least in right.items():
        problem = run({**kept, name: least})
        if problem:
            wrong[name] = problem
        else:
            kept[name] = least
    return wrong


def _runner(model: nn.Module, layout: Layout, inputs: Tensor) -> Run:
    full = {dim.name: dim.full for dim in layout.dims}

    def shapes() -> list[torch.Size]:
        with torch.no_grad():
            return [leaf.shape for leaf in tree_leaves(model(inputs)) if isinstance(leaf, Tensor)]

    wanted = shapes()
    buffers = {(path, name): held for path, module in model.named_modules() for name, held in module._buffers.items()}

    def replaced() -> str:
        """Which buffer the model's code has set to what it was given of it; all are put back."""
        found = ""
        for (path, name), held in buffers.items():
            own = model.get_submodule(path)._buffers
            if held is not None and (now := own[name]) is not None and now.shape != held.shape:
                found = found or f"its code replaces {'.'.join(filter(None, (path, name)))}"
            own[name] = held
        return found

    def run(values: Mapping[str, Number]) -> str:
        layout.set({**full, **values})
        try:
            found = shapes()
        except Exception as error:  # noqa: BLE001 - whatever a model's code raises when a size is another
            return first_line(error)
        finally:
            layout.set(full)
            changed = replaced()
        if changed:
            return changed
        return "" if found == wanted else f"it gives {list(map(tuple, found))} instead of {list(map(tuple, wanted))}"

    return run
