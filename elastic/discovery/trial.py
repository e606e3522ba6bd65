"""Trying a discovered recipe: sizes that the model's code can't follow are fixed, or shared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from elastic.discovery.settling import mixtures_of, settle, smallest_of
from elastic.errors import first_line
from elastic.layers.extraction import active_modules
from elastic.layout.layout import Layout, bind
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Number
from elastic.support.inputs import Inputs, run_model
from elastic.support.tensors import outputs_of


def keep_what_works(model: nn.Module, recipe: Recipe, inputs: Inputs) -> Recipe:
    """Remove the choices from a recipe with which the model can't run.

    Tried are the smallest subnet, each depth alone, and mixtures.

    Args:
        model: a copy that may be changed; on the meta device if `inputs` is.
        recipe: as discovered.
        inputs: a batch.

    Returns:
        The recipe, with a note for each size that it fixes or that shares another's.

    Raises:
        LayoutError: the recipe doesn't fit the model at all.
    """
    layout = bind(model, recipe)
    layout.install(model)
    dims = layout.dims
    depths = [dim for dim in dims if dim.kind == "depth"]
    alone = (smallest_of([dim]) for dim in depths if len(depths) > 1)
    subnets = itertools.chain([smallest_of(dims)] if dims else [], alone, mixtures_of(depths, 2), mixtures_of(dims, 2))
    return settle(_Trial(model, layout, inputs), dims, subnets).recipe(recipe, "the model can't run with less of it")


class _Trial:
    """Runs the model with some values of the dims, and compares the shapes of what it gives."""

    def __init__(self, model: nn.Module, layout: Layout, inputs: Inputs) -> None:
        self.model, self.layout, self.inputs = model, layout, inputs
        self.blocks = {path: model.get_submodule(path) for path in layout.gates}
        modules = dict(model.named_modules())
        self.buffers = {(path, name): one for path in modules for name, one in modules[path]._buffers.items()}
        self.modules = modules
        self.wanted, self.running = self._run()

    def __call__(self, values: Mapping[str, Number]) -> str:
        self.layout.set(values)
        active = {id(module) for module in active_modules(self.model)}
        try:
            found, ran = self._run()
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything
            return first_line(error)
        finally:
            self.layout.set({})
            changed = self._replaced()
        return changed or self._other_blocks(ran, active) or self._other_shapes(found)

    def _run(self) -> tuple[list[torch.Size], set[str]]:
        """The shapes of the outputs, and the blocks that ran."""
        with torch.no_grad(), _noting(self.blocks) as ran:
            return [tensor.shape for tensor in outputs_of(run_model(self.model, self.inputs))], ran

    def _other_blocks(self, ran: set[str], active: set[int]) -> str:
        """The problem if other blocks ran than the depths say, of those that run at full size."""
        for path in self.blocks:
            if path in self.running and (path in ran) != (id(self.blocks[path]) in active):
                return f"its code {'runs' if path in ran else 'leaves out'} {path} then"
        return ""

    def _other_shapes(self, found: list[torch.Size]) -> str:
        if found == self.wanted:
            return ""
        return f"it gives {list(map(tuple, found))} instead of {list(map(tuple, self.wanted))}"

    def _replaced(self) -> str:
        """Restore all buffers; the problem if the model's code had replaced one by its active part."""
        found = ""
        for (path, name), stored in self.buffers.items():
            own = self.modules[path]._buffers
            if stored is not None and (now := own[name]) is not None and now.shape != stored.shape:
                found = found or f"its code replaces {'.'.join(filter(None, (path, name)))}"
            own[name] = stored
        return found


@contextmanager
def _noting(blocks: Mapping[str, nn.Module]) -> Iterator[set[str]]:
    """Within the block, which of these modules run."""
    ran: set[str] = set()

    def note(path: str) -> Any:
        return lambda module, args: ran.add(path)

    hooks = [module.register_forward_pre_hook(note(path)) for path, module in blocks.items()]
    try:
        yield ran
    finally:
        for hook in hooks:
            hook.remove()
