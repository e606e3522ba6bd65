"""The supernet: an ordinary model plus a layout. It activates subnets, cuts them out, costs and sorts them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from elastic.costs.formulas import CostFormulas
from elastic.costs.tracing import Subject
from elastic.layers.aliases import LAYOUT_WARNING
from elastic.layers.extraction import cut_out
from elastic.layers.modules import upstream_class
from elastic.layout.layout import Layout
from elastic.layout.recipe import Recipe
from elastic.layout.sorting import sort_units
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.space.space import Archs, ManyArchs, OneArch, Rows, SearchSpace
from elastic.supernet.model_tree import ModelTree
from elastic.supernet.turns import OwnLock
from elastic.support.inputs import Inputs
from elastic.support.text import html_table, short, spell_count
from elastic.upstream import library_of


class Supernet(nn.Module):
    """One set of weights, many subnets; made by `elastic.elasticize`.

    Attributes:
        model: the module that came in, elastic in place; its `state_dict` has upstream's keys.
        space: all subnets.
        recipe: what made the model elastic.
        layout: the recipe bound to the model.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, recipe: Recipe, layout: Layout) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.layout = layout
        self.space = SearchSpace(layout.dims)
        self._arch = self.space.largest
        self._tree = ModelTree(model, layout)
        self._lock = OwnLock()
        self._aliasing = False
        self._costs: CostFormulas | None = None

    def __repr__(self) -> str:
        """One line; printing `.model` shows the modules."""
        parameters = short(sum(one.numel() for one in self.model.parameters()))
        return f"Supernet({upstream_class(self.model).__name__}, {parameters} parameters, {self.space})"

    def _repr_html_(self) -> str:
        """Two tables, for notebooks: the model, and what is elastic in it."""
        parameters = short(sum(one.numel() for one in self.model.parameters()))
        row = (upstream_class(self.model).__name__, parameters, spell_count(self.space.size))
        return html_table(["model", "parameters", "subnets"], [row]) + self.space._repr_html_()

    # --- running a subnet -----------------------------------------------------------------------------------

    @property
    def arch(self) -> Arch:
        """The active arch."""
        return self._arch

    @property
    def trains_in_place(self) -> bool:
        """True within `training_in_place`."""
        return self._aliasing

    def activate(self, arch: OneArch) -> Arch:
        """Make `arch` the active subnet; nothing is copied.

        Raises:
            ArchError: an unknown dim, a missing one, or a value that isn't one of its choices.
            LayoutError: a part of the model was replaced or added after it became elastic.
        """
        with self._lock:
            chosen = self.space.arch(arch)
            self._tree.check()
            self._arch = chosen
            self.layout.set(chosen)
            if self._aliasing:
                self.layout.alias()
            return chosen

    @contextmanager
    def active(self, arch: OneArch) -> Iterator[Supernet]:
        """Within the block, `arch` is the active subnet; afterwards the former one is again, whatever happened.

        Other threads that activate or run a subnet of this supernet wait until the block ends.
        """
        with self._lock:
            before = self._arch
            self.activate(arch)
            try:
                yield self
            finally:
                self.activate(before)

    @contextmanager
    def training_in_place(self) -> Iterator[Supernet]:
        """Within the block, a step runs exactly the operators of the extracted model: the fast way to train.

        Gradients of the active slices accumulate straight into `.grad` of the full parameters, as ever full
        size and zero elsewhere. What looks for parameters inside the graph doesn't find them meanwhile, but within
        `slicing()`: `torch.autograd.grad` with respect to parameters, and hooks on them
        (`DistributedDataParallel`'s too; reduce gradients after the backward passes instead). Keep gradients
        between steps (`zero_grad(set_to_none=False)`) to gain all of it.
        """
        if self._aliasing:
            yield self
            return
        self._aliasing = True
        self.activate(self._arch)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", LAYOUT_WARNING)
                yield self
        finally:
            self._aliasing = False
            self.layout.unalias()

    @contextmanager
    def slicing(self) -> Iterator[Supernet]:
        """Within the block, parameters themselves are in the graph, as they are outside of `training_in_place`."""
        aliasing, self._aliasing = self._aliasing, False
        self.layout.unalias()
        try:
            yield self
        finally:
            self._aliasing = aliasing
            if aliasing:
                self.layout.alias()

    def _apply(self, fn: Any, recurse: bool = True) -> Supernet:
        """Moves and casts give parameters other memory: aliases of the former one are dropped."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.layout.unalias()
        if self._aliasing:
            self.layout.alias()
        return self

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The active subnet's output. A batch of images `(N, C, H, W)` is resized to the active resolution first."""
        if torch.compiler.is_compiling():
            return self._run(inputs, named)
        with self._lock:
            return self._run(inputs, named)

    def _run(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not inputs and "resolution" in self._arch:
            first = next(iter(signature(self.model.forward).parameters))  # the images; a mask isn't to be resized
            named = {name: self.resize(one) if name == first else one for name, one in named.items()}
        return self.model(*(self.resize(one) for one in inputs[:1]), *inputs[1:], **named)

    def resize(self, images: Any) -> Any:
        """Images `(N, C, H, W)` at the active resolution (bilinear, antialiased); anything else untouched.

        At full resolution images stay as they are, whatever their size: the largest subnet is the original model.
        """
        side = self._arch.get("resolution")
        if side is None or side == self.space["resolution"].full:
            return images
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[-2:] == (side, side):
            return images
        wide = images if images.dtype == torch.float64 else images.float()  # CPUs can't resample half precision
        size = (int(side), int(side))
        return F.interpolate(wide, size, mode="bilinear", align_corners=False, antialias=True).to(images.dtype)

    def input_shape(self, arch: Mapping[str, Number] | None = None) -> tuple[int, ...]:
        """Shape of one input of `arch` (the active one by default), without the batch axis."""
        return self.recipe.input_shape(self._arch if arch is None else arch)

    def example_inputs(
        self,
        arch: Mapping[str, Number] | None = None,
        n: int = 1,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> Inputs:
        """Made-up inputs of `arch` (the active one by default), zeros without a seed.

        One tensor `(n, *input_shape(arch))`; or, where the supernet was made with an example by name, several.
        """
        return self.recipe.example_inputs(self._arch if arch is None else arch, n, device, seed)

    # --- cutting one out ------------------------------------------------------------------------------------

    def extract(self, arch: OneArch, share: bool = False) -> nn.Module:
        """The subnet as an ordinary module: upstream's classes, tensors of its own, nothing of this library.

        Computes exactly what the supernet computes with `arch` active (give it images of the arch's
        resolution). The supernet is left as it was.

        Args:
            arch: which subnet; `smallest` and `largest` are words for two of them.
            share: to run or export it and throw it away, or to hold many subnets in the memory of one: parameters are
                views of the supernet's, wherever a view is what is active, so that training one trains the other
                (`torch.save` would write the whole of what is viewed); buffers are its own.

        Raises:
            ArchError: as for `activate`.
        """
        with self.active(arch):
            subnet = cut_out(self.model, share)
            if "resolution" in self._arch:
                library_of(subnet).set_input_size(self.input_shape())
        if self.recipe.settle is not None:
            self.recipe.settle(subnet)
        return subnet

    # --- costs ----------------------------------------------------------------------------------------------

    @property
    def costs(self) -> CostFormulas:
        """The cost formulas of this supernet, derived on first use."""
        self._tree.check()
        if self._costs is None:
            self._costs = CostFormulas(Subject(self.model, self.layout, self.recipe))
        return self._costs

    @overload
    def macs(self, archs: OneArch) -> int: ...
    @overload
    def macs(self, archs: ManyArchs) -> NDArray[np.int64]: ...
    def macs(self, archs: Archs) -> int | NDArray[np.int64]:
        """Multiply-accumulates of one forward pass on one input, exact. Activates nothing.

        Counts what `torch.utils.flop_counter` counts on the extracted model (matrix products, convolutions,
        attention), halved.

        Args:
            archs: one arch, or a word for it (`smallest`, `largest`); or several, as a sequence or as encoded rows
                `(n, dims)`.

        Returns:
            An int for one arch, int64 `(n,)` for several.

        Raises:
            ArchError: an arch that isn't in the space.
            CostError: the model does something that no formula in its sizes follows.
        """
        return self._each(self.costs.macs, archs)

    @overload
    def params(self, archs: OneArch) -> int: ...
    @overload
    def params(self, archs: ManyArchs) -> NDArray[np.int64]: ...
    def params(self, archs: Archs) -> int | NDArray[np.int64]:
        """Parameters of the extracted models, exact; arguments and errors as of `macs`. Activates nothing."""
        return self._each(self.costs.params, archs)

    @overload
    def memory(self, archs: OneArch) -> int: ...
    @overload
    def memory(self, archs: ManyArchs) -> NDArray[np.int64]: ...
    def memory(self, archs: Archs) -> int | NDArray[np.int64]:
        """Peak activation bytes of one forward pass on one float32 input, in inference; arguments as of `macs`.

        The largest sum of tensors alive at once, the input included and parameters left out. Refused where there are
        recurrent layers (`CostError`): each device has kernels of its own for those.
        """
        return self._each(self.costs.memory, archs)

    def _each(self, cost: Callable[[Rows], NDArray[np.int64]], archs: Archs) -> int | NDArray[np.int64]:
        found = cost(self.space.rows(archs))
        return int(found[0]) if isinstance(archs, (str, Mapping)) else found

    # --- order of importance --------------------------------------------------------------------------------

    def sort(self, importance: Mapping[str, Tensor], within: SearchSpace | None = None) -> None:
        """Reorder the units of every size in `importance`, most important first; the full output stays the same.

        Args:
            importance: by size name, a score per unit, shape `(full,)` (see `elastic.importance`).
            within: a part of the search space whose subnets keep their outputs, too: units stay between the
                widths that it offers.

        Raises:
            LayoutError: a size that the layout doesn't have or that can't be reordered, or scores of a wrong shape or
                that aren't numbers.
        """
        sort_units(self.model, self.layout, importance, within)
