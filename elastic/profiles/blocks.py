"""Blocks of a supernet: which exist, which dims each depends on, and which are identical.

A block is a child of a container with elastic depth, or a module outside all of them, such as stem and head; one that
is called twice is two blocks. It has one variant for each combination of the dims it depends on; identical variants
share a signature. A table of latencies has one time per signature, and a subnet's latency is a sum over its blocks.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.costs.tracing import Subject
from elastic.errors import ProfileError
from elastic.layers.extraction import cut_out
from elastic.layout.layout import SizeEvaluator, sizes_of
from elastic.profiles.calls import BlockIO, Call, calls_of
from elastic.space.dims import Gate
from elastic.space.sizes import Number
from elastic.space.space import SearchSpace
from elastic.supernet.supernet import Supernet

Name = Callable[[nn.Module, "BlockIO"], str]
"""Maps a plain module and its input/output shapes to a signature; an empty string means it costs nothing."""

VARIANTS_LIMIT = 4096
"""Largest number of variants of one block; blocks with more are not tabulated."""

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
_IDLE = (nn.Identity, nn.Dropout)
"""Blocks that do nothing in inference."""


@dataclass(frozen=True)
class BlockVariant:
    """One variant of a block: how to build it.

    Attributes:
        signature: the same for identical variants.
        layer: the block's class.
        values: dim values of an arch that contains this variant.
        io: its path, inputs and output.
    """

    signature: str
    layer: str
    values: Mapping[str, Number]
    io: BlockIO


@dataclass(frozen=True)
class Block:
    """A block of a supernet in all its variants, as one call of it finds it.

    Attributes:
        path: path of the block in the full model; the first one of a module that has several.
        dims: names of the dims it depends on, in the space's order.
        gates: gates in front of it; the block runs if all are open. A module with several paths, each with other
            gates, has none: it depends on their depths.
        variants: one for each combination of the dims' choices, the last dim varying fastest; None where no subnet
            contains that combination.
    """

    path: str
    dims: tuple[str, ...]
    gates: tuple[Gate, ...]
    variants: tuple[BlockVariant | None, ...]

    @property
    def signatures(self) -> tuple[str, ...]:
        """The signature of each variant; empty if it costs nothing or is None."""
        return tuple("" if variant is None else variant.signature for variant in self.variants)


def find_blocks(supernet: Supernet, space: SearchSpace | None = None, name: Name | None = None) -> tuple[Block, ...]:
    """All blocks of a supernet, one for each call, in order. Passes on the meta device find them.

    The supernet isn't changed.

    Args:
        supernet: the supernet.
        space: default: the supernet's whole space; or a narrowed one (`SearchSpace.narrow`).
        name: computes signatures; default: `signature`, with which variants that compute different things differ.

    Raises:
        ProfileError: a block has more than `VARIANTS_LIMIT` variants, or is called with more than tensors, as are the
            layers of models that read text.
    """
    if supernet.recipe.vocabulary is not None:
        raise ProfileError(
            f"the layers of a {type(supernet.model).__name__} are called with more than tensors, and can't be measured "
            "alone; measure whole subnets (--subnets)"
        )
    survey = _Survey(supernet, space or supernet.space, name or signature)
    dims = survey.dims_of_blocks()
    for (path, _), names in dims.items():
        count = math.prod(len(survey.space[one].choices) for one in names)
        if count > VARIANTS_LIMIT:
            raise ProfileError(
                f"{path!r} has {count} variants, by {', '.join(names)}; a table can have {VARIANTS_LIMIT}. Offer fewer "
                "choices (for a profile: fewer resolutions), or predict latency from whole subnets"
            )
    return survey.enumerate(dims)


def distinct_variants(found: tuple[Block, ...]) -> dict[str, BlockVariant]:
    """One variant to measure per signature, in model order."""
    unique: dict[str, BlockVariant] = {}
    for block in found:
        for variant in block.variants:
            if variant is not None and variant.signature:
                unique.setdefault(variant.signature, variant)
    return unique


def build_variant(
    supernet: Supernet, variant: BlockVariant, batch_size: int = 1, seed: int = 0
) -> tuple[nn.Module, list[Tensor]]:
    """A variant as a plain module in evaluation mode, with inputs `(batch_size, *shape)` for it."""
    with supernet.active(variant.values):
        module = cut_out(supernet.model.get_submodule(variant.io.path)).eval()
    generator = torch.Generator().manual_seed(seed)
    return module, [
        torch.randn(batch_size, *shape, generator=generator, dtype=dtype)
        if dtype.is_floating_point
        else torch.zeros(batch_size, *shape, dtype=dtype)
        for shape, dtype in zip(variant.io.shapes, variant.io.dtypes, strict=True)
    ]


def block_modules(supernet: Supernet | Subject) -> Iterator[tuple[str, nn.Module]]:
    """The largest modules that run and have no elastic depth inside, by path: blocks, stem and head."""
    gated = supernet.layout.gates

    def visit(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        runs = type(module).forward is not nn.Module.forward  # lists and dicts of modules don't
        if runs and not any(one.startswith(f"{path}.".lstrip(".")) for one in gated):
            yield path, module
            return
        for name, child in module._modules.items():
            if child is not None:
                yield from visit(f"{path}.{name}".lstrip("."), child)

    return visit("", supernet.model)


# --- signatures ---------------------------------------------------------------------------------------------


def signature(module: nn.Module, io: BlockIO) -> str:
    """Signature of a variant: class, input shapes and a digest of its tensors and attributes.

    Variants that compute different things differ. An example:

    `InvertedResidual-24x56x56-3f9a1b2c`
    """
    shapes = "-".join("x".join(map(str, shape)) for shape in io.shapes)
    digest = hashlib.sha256("\n".join(_describe(module)).encode()).hexdigest()[:8]
    return f"{type(module).__name__}-{shapes}-{digest}"


def _describe(module: nn.Module) -> Iterator[str]:
    for path, one in module.named_modules():
        tensors = [
            (name, tuple(t.shape)) for name, t in (*one._parameters.items(), *one._buffers.items()) if t is not None
        ]
        plain = [(name, value) for name, value in one.__dict__.items() if _counts(name, value)]
        yield f"{path} {type(one).__qualname__} {sorted(tensors)} {sorted(plain, key=repr)}"


def _counts(name: str, value: Any) -> bool:
    """Whether an attribute can change the output in inference; dropout rates can't."""
    if name.startswith("_") or "drop" in name or name in ("training", "inplace", "p"):
        return False
    items = value if isinstance(value, (tuple, list)) else [value]
    return all(isinstance(item, (bool, int, float, str)) for item in items)


# --- finding them -------------------------------------------------------------------------------------------


class _Survey:
    """Forward passes on a meta copy of the supernet that record every block's inputs and output, call by call."""

    def __init__(self, supernet: Supernet, space: SearchSpace, name: Name) -> None:
        self.space = space
        self.name = name
        self.twin = Subject(supernet.model, supernet.layout, supernet.recipe).on_meta()
        for module in self.twin.model.modules():
            if isinstance(module, _NORMS):  # slow on tensors without data, and shapes are all that is asked
                module.forward = _same  # type: ignore[method-assign, assignment]
        places: dict[nn.Module, list[str]] = {}
        for path, module in block_modules(self.twin):
            if not isinstance(module, _IDLE):
                places.setdefault(module, []).append(path)
        self.modules = {paths[0]: module for module, paths in places.items()}
        self.gates = {paths[0]: {self.twin.layout.gates_of(path) for path in paths} for paths in places.values()}
        rules = self.twin.layout.rules
        self.rules = [(self.twin.model.get_submodule(path), own) for path, own in rules.items()]
        self.evaluator = SizeEvaluator(space, self.twin.layout)
        self.sizes = {path: self._sizes(module) for path, module in self.modules.items()}
        self.largest = {dim.name: dim.choices[-1] for dim in space.dims}
        self._signatures: dict[Any, tuple[str, str]] = {}

    def dims_of_blocks(self) -> dict[Call, tuple[str, ...]]:
        """For each call of a block, the dims of its own sizes and those that change its inputs."""
        before = self.look({})
        own = {call: self._own_dims(call[0]) for call in before}
        uses = Counter(name for names in own.values() for name in names)
        smallest = {dim.name: dim.choices[0] for dim in self.space.dims}
        inner = {name: smallest[name] for name, count in uses.items() if count == 1}
        if _changed(before, self.look(inner)):  # what only one block has seldom shows outside it
            inner = {}
        for name in smallest.keys() - inner.keys():
            for call in _changed(before, self.look({name: smallest[name]})):
                own[call].add(name)
        return {call: tuple(name for name in self.space.names if name in own[call]) for call in before}

    def enumerate(self, dims: Mapping[Call, tuple[str, ...]]) -> tuple[Block, ...]:
        """Every variant of every block; each pass records one variant per block, as far as their dims agree."""
        choices = {call: [self.space[name].choices for name in names] for call, names in dims.items()}
        waiting = {call: list(itertools.product(*given)) for call, given in choices.items()}
        found: dict[Call, dict[tuple[Number, ...], BlockVariant | None]] = {call: {} for call in dims}
        while any(waiting.values()):
            values: dict[str, Number] = {}
            asked: dict[Call, tuple[Number, ...]] = {}
            for call, left in waiting.items():
                gates = self._common_gates(call[0])
                deep = {one.depth: self.largest[one.depth] for one in gates if one.depth in self.largest}
                index = _compatible(dims[call], left, deep, values)
                if index is not None:
                    asked[call] = left.pop(index)
                    values.update({**deep, **dict(zip(dims[call], asked[call], strict=True))})
            seen = self.look(values)
            for call, combination in asked.items():
                found[call][combination] = seen.get(call)
        return tuple(
            Block(call[0], dims[call], self._common_gates(call[0]), tuple(found[call][one] for one in order))
            for call, given in choices.items()
            if (order := list(itertools.product(*given)))
        )

    def look(self, values: Mapping[str, Number]) -> dict[Call, BlockVariant]:
        """The variant of each block that runs with these dim values, and the largest choices of all other dims."""
        chosen = {**self.largest, **values}
        self.twin.layout.set(chosen)
        calls = calls_of(self.twin.model, self.modules, self.twin.recipe.example_inputs(chosen, device="meta"))
        return {call: self._variant(io, chosen) for call, io in calls.items()}

    def _variant(self, io: BlockIO, chosen: Mapping[str, Number]) -> BlockVariant:
        key = (io, tuple(size.value for size in self.sizes[io.path]))
        if key not in self._signatures:
            module = cut_out(self.modules[io.path])
            self._signatures[key] = (self.name(module, io), type(module).__name__)
        return BlockVariant(*self._signatures[key], chosen, io)

    def _sizes(self, module: nn.Module) -> list[Any]:
        inside = set(module.modules())
        rules = [own for one, own in self.rules if one in inside]
        return list({size.name: size for own in rules for rule in own.values() for size in sizes_of(rule)}.values())

    def _own_dims(self, path: str) -> set[str]:
        """The dims of a block's sizes, and of the depths that say how often it is called where its paths differ."""
        depths = [] if len(self.gates[path]) == 1 else [gate.depth for own in self.gates[path] for gate in own]
        return set(self.evaluator.dims_of([*(size.name for size in self.sizes[path]), *depths]))

    def _common_gates(self, path: str) -> tuple[Gate, ...]:
        return next(iter(self.gates[path])) if len(self.gates[path]) == 1 else ()


def _same(x: Tensor, *_: Any) -> Tensor:
    return x


def _changed(before: Mapping[Call, BlockVariant], after: Mapping[Call, BlockVariant]) -> list[Call]:
    """Calls of blocks whose input shapes changed."""
    return [call for call, variant in after.items() if variant.io.shapes != before[call].io.shapes]


def _compatible(
    dims: tuple[str, ...], left: list[tuple[Number, ...]], deep: Mapping[str, Number], values: Mapping[str, Number]
) -> int | None:
    """Index of the first combination that agrees with the values chosen so far, where its block runs; None if none."""
    for index, combination in enumerate(left):
        wanted = {**deep, **dict(zip(dims, combination, strict=True))}
        if all(values.get(name, value) == value for name, value in wanted.items()):
            return index
    return None
