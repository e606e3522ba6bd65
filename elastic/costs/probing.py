"""Traced forward passes of one supernet at chosen sizes, from which the formulas of all costs are read."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from elastic.costs.alike import Names, Run, find_runs, within
from elastic.costs.coding import CodedSizes, code_sizes
from elastic.costs.repeating import repeat, shorten
from elastic.costs.tracing import CostTrace, NamedModules, Subject, recurrent_layers, trace
from elastic.errors import CostError
from elastic.layers.extraction import cut_out
from elastic.layers.read_rules import TensorRule, stored_tensor
from elastic.layers.slicing import TensorAxes, TensorAxis
from elastic.layout.layout import SizeEvaluator, sizes_of
from elastic.space.dims import Gate
from elastic.space.sizes import Number
from elastic.space.space import SearchSpace

Sizes = frozenset[str]


class Probes:
    """Traced forward passes of one supernet, with every block present.

    Attributes:
        layout: of a meta copy, whose sizes all choose for themselves: those that always move together
            couldn't be told apart.
        space: the copy's.
        resolutions: what is offered, or a single 0.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject.on_meta(integers=True)
        self.layout = self._subject.layout
        self.layout.uncouple()
        self.space = SearchSpace(self.layout.dims)
        self._evaluate = SizeEvaluator(self.space, self.layout)
        self._full = self._evaluate({})
        named = "resolution" in self.space.names
        self.resolutions: tuple[Number, ...] = self.space["resolution"].choices if named else (0,)
        self._traces: dict[frozenset[tuple[str, Number]], CostTrace] = {}
        self._single_of: dict[str, tuple[str, ...]] = {}
        self._last: tuple[Any, nn.Module, NamedModules] | None = None

    # --- which sizes ----------------------------------------------------------------------------------------

    @cached_property
    def coded(self) -> CodedSizes:
        """Numbers that stand for the sizes that can change; kernels, depths and what follows the input are none."""
        return code_sizes(self._subject.model, self.layout, self._fixed)

    def coded_values(self, resolution: int, ones: Sizes = frozenset(), kernel: Number = 0) -> dict[str, int]:
        """All sizes: the coded ones, and the largest subnet's.

        Args:
            resolution: its index.
            ones: the single units that are 1.
            kernel: of all layers that offer it; the others, as by default all, have their largest.
        """
        kernels = {name: kernel for name, choices in self.kernels.items() if kernel in choices}
        sizes = self._evaluate({**self._at(resolution), **kernels})
        return sizes | {name: 1 if name in ones else self.coded[name] for name in self.coded.primes}

    def smallest_values(self, resolution: int, ones: Sizes = frozenset()) -> dict[str, int]:
        """All sizes of the smallest subnet with every block, but for single units that aren't in `ones`."""
        values = {}
        for dim in self.space.dims:
            single = dim.name in self.single
            choices = [choice for choice in dim.choices if not single or (choice == 1) == (dim.name in ones)]
            values[dim.name] = dim.full if dim.name in self._fixed else choices[0]
        return self._evaluate(values | self._at(resolution))

    def _at(self, resolution: int) -> dict[str, Number]:
        return {"resolution": self.resolutions[resolution]} if "resolution" in self.space.names else {}

    def cases(self) -> list[Sizes]:
        """The sets of single units to trace at 1: those of each combination of kinds."""
        kinds = sorted({self.space[name].kind for name in self.single})
        chosen = itertools.chain.from_iterable(itertools.combinations(kinds, n) for n in range(len(kinds) + 1))
        return [frozenset(name for name in self.single if self.space[name].kind in some) for some in chosen]

    @cached_property
    def single(self) -> dict[str, str]:
        """Widths that can be 1, and the module inside which each matters.

        PyTorch skips the copy that moves an axis where its length is 1, so that other operators run. If two such
        sizes of a kind affect one module, both are left out: `cases` couldn't tell them apart.
        """
        offered = {dim.name for dim in self.space.dims if dim.choices[0] == 1 and dim.name not in self._fixed}
        names = [name for name in offered if name in self.layout.sizes and self.layout.sizes[name].is_width]
        places = {name: self._place(name) for name in sorted(names)}

        def meet(one: str, other: str) -> bool:
            same = one != other and self.space[one].kind == self.space[other].kind
            return same and (within(places[one], places[other]) or within(places[other], places[one]))

        return {name: places[name] for name in places if not any(meet(name, other) for other in places)}

    def _place(self, size: str) -> str:
        """The innermost module that holds all tensors of the size."""
        bound = [
            path.split(".")
            for path, rules in self.layout.rules.items()
            if any(one.name == size for rule in rules.values() for one in sizes_of(rule))
        ]
        shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*bound, strict=False))
        return ".".join(level[0] for level in shared)

    @cached_property
    def kernels(self) -> dict[str, tuple[Number, ...]]:
        """The choices of each kernel whose layer pads for itself, so that the padded input grows with the kernel."""
        names = {name for path in self.layout.rules for name in self.padded_for(path)}
        return {dim.name: dim.choices for dim in self.space.dims if dim.name in names}

    @cached_property
    def _fixed(self) -> Sizes:
        """Dims that are always at their largest, so that every block runs."""
        return frozenset({gate.depth for gates in self.layout.gates.values() for gate in gates} | {"resolution"})

    # --- what a place depends on ----------------------------------------------------------------------------

    def gates_of(self, blocks: Sequence[str]) -> tuple[Gate, ...]:
        """The gates that must be open for these blocks to run, one inside the other."""
        return tuple(dict.fromkeys(gate for path in blocks for gate in self.layout.gates[path]))

    def kernels_of(self, path: str) -> tuple[str, ...]:
        """The kernel sizes of the layer at `path`, one entry per axis of its weight."""
        rule = self.layout.rules.get(path, {}).get("weight")
        sizes = rule.axes.sizes if isinstance(rule, TensorRule) else []
        return tuple(size.name for size in sizes if not size.is_width)

    def padded_for(self, path: str) -> tuple[str, ...]:
        """The kernels that the layer at `path` pads its input for by itself."""
        return () if "padding" in self.layout.rules.get(path, {}) else tuple(dict.fromkeys(self.kernels_of(path)))

    def single_of(self, path: str) -> tuple[str, ...]:
        """The single units that the operators at `path` depend on."""
        if path not in self._single_of:
            self._single_of[path] = tuple(name for name, place in self.single.items() if within(path, place))
        return self._single_of[path]

    @property
    def recurrent(self) -> list[str]:
        """The paths of recurrent layers."""
        return recurrent_layers(self._subject.model.named_modules())

    # --- their passes ---------------------------------------------------------------------------------------

    def trace(self, sizes: Mapping[str, int]) -> CostTrace:
        """The forward pass with these sizes; formulas of all costs share it.

        Raises:
            CostError: the recipe doesn't say the shape of an input, or code depends on the values of activations.
        """
        key = frozenset(sizes.items())
        if key not in self._traces:
            recipe = self._subject.recipe
            if not recipe.input_shape(sizes) and not recipe.inputs:
                raise CostError(
                    "costs are counted on one input, and the recipe doesn't say its shape: Recipe(input_size=...)"
                )
            found = self._repeated(sizes, self._runs) if self._runs else None
            self._traces[key] = found or self._traced(sizes)
        return self._traces[key]

    def _traced(self, sizes: Mapping[str, int], runs: Sequence[Run] = ()) -> CostTrace:
        model, named = self._cut_out(sizes, runs)
        _, layout, recipe = self._subject
        return trace(
            model, named, layout.gates, recipe.example_inputs(sizes),
            lambda length: self.coded.largest(length, self._full),
        )  # fmt: skip

    @cached_property
    def _runs(self) -> list[Run]:
        """Runs of alike blocks, if the smallest subnet has the same pass where they are repeated and where they run."""
        found = find_runs(self._subject.model, self.layout)
        if not found:
            return []
        sizes = self.smallest_values(len(self.resolutions) - 1)
        self._traces[frozenset(sizes.items())] = whole = self._traced(sizes)
        return found if self._repeated(sizes, found) == whole else []

    def _repeated(self, sizes: Mapping[str, int], runs: Sequence[Run]) -> CostTrace | None:
        """The pass of `trace`, of which all but two blocks of each run are repetitions; None where they differ."""
        coded = {name for name in self.coded.primes if sizes[name] == self.coded[name]}
        pairs = [pair for run in runs for names in run.names for pair in names.items()]
        if not all(coded.issuperset(pair) or sizes[pair[0]] == sizes[pair[1]] for pair in pairs if pair[0] in sizes):
            return None
        try:
            found: CostTrace | None = self._traced(sizes, runs)
        except Exception:  # noqa: BLE001 - a model's code may raise anything where blocks are missing
            return None
        for run in runs:
            found = found and repeat(found, run, lambda number, names: self._renamed(number, names, coded))
        return found

    def _renamed(self, number: int, names: Names, coded: Collection[str]) -> int:
        """A number of one block as it is in another, whose sizes have these names."""
        changed = {name: other for name, other in names.items() if name != other and name in coded and other in coded}
        return self.coded.renamed(number, changed)

    def _cut_out(self, sizes: Mapping[str, int], runs: Sequence[Run] = ()) -> tuple[nn.Module, NamedModules]:
        """The subnet of these sizes, on meta, and its modules: one for all resolutions, where no rule reads those."""
        key = len(runs), frozenset((name, value) for name, value in sizes.items() if name in self._read)
        if self._last is None or self._last[0] != key:
            _resize(self._subject, sizes)
            model = cut_out(self._subject.model, share=True)
            named = list(model.named_modules())
            shorten(model, runs)
            self._last = key, model, named
        return self._last[1:]

    @cached_property
    def _read(self) -> Sizes:
        """The sizes that rules read."""
        rules = (rule for rules in self.layout.rules.values() for rule in rules.values())
        return frozenset(size.name for rule in rules for size in sizes_of(rule))


def _resize(subject: Subject, sizes: Mapping[str, int]) -> None:
    """Give a meta copy these sizes: widths as if the model had been made with them, others as the active values."""
    model, layout, _ = subject
    changed = set()
    for name, size in layout.sizes.items():
        if size.is_width and size.full != sizes[name]:
            changed.add(name)
            size.full = sizes[name]
        size.value = sizes[name]
    made: dict[int, torch.Tensor] = {}  # tied weights stay tied
    for path, rules in layout.rules.items():
        module = model.get_submodule(path)
        for name, rule in rules.items():
            if isinstance(rule, TensorRule) and any(size.name in changed for size in rule.axes.sizes):
                rule.axes = TensorAxes([TensorAxis(axis.factors) for axis in rule.axes.axes])
                old = stored_tensor(module, name)
                new = made.setdefault(id(old), _empty(old, tuple(axis.full for axis in rule.axes.axes)))
                made[id(new)] = new
                stored = module._parameters if name in module._parameters else module._buffers
                stored[name] = new  # type: ignore[assignment]


def _empty(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    empty = torch.empty(shape, dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
