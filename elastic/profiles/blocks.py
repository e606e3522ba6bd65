"""The blocks that subnets are put together from: which there are, on which dims each depends, which are equal.

A block here is one of an elastic container, or what stands around those: stem and head. It takes a variant for each
combination of the dims that it depends on; equal variants, wherever they are in the model, have one signature. A
table of latencies has one time per signature, and a subnet's latency is a sum over its blocks.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.costs.tracing import Subject
from elastic.errors import ProfileError
from elastic.layers.extraction import cut_out
from elastic.layout.layout import SizeEvaluator, sizes_of
from elastic.space.dims import Gate
from elastic.space.sizes import Number
from elastic.space.space import SearchSpace
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import example_inputs

Shape = tuple[int, ...]
"""Of one input, without the batch axis."""

Name = Callable[[nn.Module, "BlockIO"], str]
"""Gives the signature of a variant: a plain module, and what it is given and gives. Empty where nothing is to pay."""

VARIANTS_LIMIT = 4096
"""A block with more variants than this can't have a table."""

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
_IDLE = (nn.Identity, nn.Dropout)
"""Blocks that do nothing in inference."""


@dataclass(frozen=True)
class BlockIO:
    """What a block is given, and what it gives.

    Attributes:
        path: where it is in the full model.
        shapes: of its inputs, the batch axis left out.
        dtypes: of its inputs.
        output: shape of its output, the batch axis left out; empty where that isn't one tensor.
    """

    path: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]
    output: Shape


@dataclass(frozen=True)
class BlockVariant:
    """One variant of a block: how to build it.

    Attributes:
        signature: the same for equal variants.
        layer: the block's class.
        values: the arch that has it, by dim.
        io: where it is, and what it is given.
    """

    signature: str
    layer: str
    values: Mapping[str, Number]
    io: BlockIO


@dataclass(frozen=True)
class Block:
    """A block of a supernet in all its variants.

    Attributes:
        path: where it is in the full model.
        dims: the names of the dims that it depends on, in the space's order.
        gates: what it stands behind; it runs where all of them pass.
        variants: one for each combination of the dims' choices, the last dim's fastest; None where no subnet has it.
    """

    path: str
    dims: tuple[str, ...]
    gates: tuple[Gate, ...]
    variants: tuple[BlockVariant | None, ...]

    @property
    def signatures(self) -> tuple[str, ...]:
        """The signature of each variant, empty where there is nothing to pay."""
        return tuple("" if variant is None else variant.signature for variant in self.variants)


def find_blocks(supernet: Supernet, space: SearchSpace | None = None, name: Name | None = None) -> tuple[Block, ...]:
    """All blocks of a supernet, in the model's order; found on tensors without data, the supernet is left alone.

    Args:
        supernet: whose blocks.
        space: all of its space by default, or a part of that (`SearchSpace.narrow`), whose choices then count.
        name: gives the signatures; by default `signature`, which tells apart whatever computes something else.

    Raises:
        ProfileError: a block depends on so many dims that its variants can't be tabulated; or a model that reads text,
            whose layers are given more than tensors.
    """
    if supernet.recipe.vocabulary is not None:
        raise ProfileError(
            f"the layers of a {type(supernet.model).__name__} are called with more than tensors, and can't be measured "
            "alone; measure whole subnets (--subnets)"
        )
    survey = _Survey(supernet, space or supernet.space, name or signature)
    dims = survey.dims_of_blocks()
    for path, names in dims.items():
        count = math.prod(len(survey.space[one].choices) for one in names)
        if count > VARIANTS_LIMIT:
            raise ProfileError(
                f"{path!r} has {count} variants, by {', '.join(names)}; a table can have {VARIANTS_LIMIT}. Offer fewer "
                "choices (for a profile: fewer resolutions), or predict latency from whole subnets"
            )
    return survey.enumerate(dims)


def distinct_variants(found: tuple[Block, ...]) -> dict[str, BlockVariant]:
    """What there is to measure: one variant for each signature, in the model's order."""
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
    """The largest modules with no elastic depth inside, by path: blocks, stem and head, which cover the model."""
    gated = supernet.layout.gates

    def visit(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        if not any(one.startswith(f"{path}.".lstrip(".")) for one in gated):
            yield path, module
            return
        for name, child in module._modules.items():
            if child is not None:
                yield from visit(f"{path}.{name}".lstrip("."), child)

    return visit("", supernet.model)


# --- signatures ---------------------------------------------------------------------------------------------


def signature(module: nn.Module, io: BlockIO) -> str:
    """Tells variants apart that compute something else: class, input shapes, and a digest of all that is inside.

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
    """Whether an attribute can change what is computed in inference; how much is dropped in training can't."""
    if name.startswith("_") or "drop" in name or name in ("training", "inplace", "p"):
        return False
    items = value if isinstance(value, (tuple, list)) else [value]
    return all(isinstance(item, (bool, int, float, str)) for item in items)


# --- finding them -------------------------------------------------------------------------------------------


class _Survey:
    """Passes without data over a copy of the supernet, in which every block says what it is given."""

    def __init__(self, supernet: Supernet, space: SearchSpace, name: Name) -> None:
        self.space = space
        self.name = name
        self.twin = Subject(supernet.model, supernet.layout, supernet.recipe).on_meta()
        for module in self.twin.model.modules():
            if isinstance(module, _NORMS):  # slow on tensors without data, and shapes are all that is asked
                module.forward = _same  # type: ignore[method-assign, assignment]
        self.modules = {path: one for path, one in block_modules(self.twin) if not isinstance(one, _IDLE)}
        self.sizes = {path: self._sizes(path) for path in self.modules}
        self.largest = {dim.name: dim.choices[-1] for dim in space.dims}
        self._signatures: dict[Any, tuple[str, str]] = {}

    def dims_of_blocks(self) -> dict[str, tuple[str, ...]]:
        """The dims of each block's own sizes, and those that change what it is given."""
        sizes = SizeEvaluator(self.space, self.twin.layout)
        own = {path: sizes.dims_of(size.name for size in self.sizes[path]) for path in self.modules}
        before = self.look({})
        uses = Counter(name for names in own.values() for name in names)
        smallest = {dim.name: dim.choices[0] for dim in self.space.dims}
        inner = {name: smallest[name] for name, count in uses.items() if count == 1}
        if _changed(before, self.look(inner)):  # what only one block has seldom shows outside it
            inner = {}
        for name in smallest.keys() - inner.keys():
            for path in _changed(before, self.look({name: smallest[name]})):
                own[path].add(name)
        return {path: tuple(name for name in self.space.names if name in own[path]) for path in before}

    def enumerate(self, dims: Mapping[str, tuple[str, ...]]) -> tuple[Block, ...]:
        """Every variant of every block; one pass shows one of each, as far as they don't contradict each other."""
        choices = {path: [self.space[name].choices for name in names] for path, names in dims.items()}
        waiting = {path: list(itertools.product(*given)) for path, given in choices.items()}
        found: dict[str, dict[tuple[Number, ...], BlockVariant | None]] = {path: {} for path in dims}
        while any(waiting.values()):
            values: dict[str, Number] = {}
            asked: dict[str, tuple[Number, ...]] = {}
            for path, left in waiting.items():
                index = _compatible(dims[path], left, values)
                if index is not None:
                    asked[path] = left.pop(index)
                    values.update(zip(dims[path], asked[path], strict=True))
            io = self.look(values)
            for path, combination in asked.items():
                found[path][combination] = io.get(path)
        return tuple(
            Block(path, dims[path], self.twin.layout.gates_of(path), tuple(found[path][one] for one in order))
            for path, given in choices.items()
            if (order := list(itertools.product(*given)))
        )

    def look(self, values: Mapping[str, Number]) -> dict[str, BlockVariant]:
        """The variant of each block that runs when these dims are chosen and the others are at their largest."""
        chosen = {**self.largest, **values}
        self.twin.layout.set(chosen)
        given: dict[str, BlockIO] = {}
        with ExitStack() as hooks, torch.inference_mode(False), torch.no_grad():
            for path, module in self.modules.items():
                hooks.callback(module.register_forward_hook(_recorder(path, given), with_kwargs=True).remove)
            recipe = self.twin.recipe
            self.twin.model(example_inputs(recipe.input_shape(chosen), recipe.vocabulary, device="meta"))
        return {path: self._variant(path, io, chosen) for path, io in given.items()}

    def _variant(self, path: str, io: BlockIO, chosen: Mapping[str, Number]) -> BlockVariant:
        key = (path, io, tuple(size.value for size in self.sizes[path]))
        if key not in self._signatures:
            module = cut_out(self.modules[path])
            self._signatures[key] = (self.name(module, io), type(module).__name__)
        return BlockVariant(*self._signatures[key], chosen, io)

    def _sizes(self, path: str) -> list[Any]:
        rules = self.twin.layout.rules
        inside = [own for place, own in rules.items() if f"{place}.".startswith(f"{path}.")]
        return list({size.name: size for own in inside for rule in own.values() for size in sizes_of(rule)}.values())


def _same(x: Tensor, *_: Any) -> Tensor:
    return x


def _changed(before: Mapping[str, BlockVariant], after: Mapping[str, BlockVariant]) -> list[str]:
    """The blocks that are given something else."""
    return [path for path, variant in after.items() if variant.io.shapes != before[path].io.shapes]


def _compatible(dims: tuple[str, ...], left: list[tuple[Number, ...]], values: Mapping[str, Number]) -> int | None:
    """The first combination that contradicts nothing chosen so far."""
    for index, combination in enumerate(left):
        if all(values.get(name, value) == value for name, value in zip(dims, combination, strict=True)):
            return index
    return None


def _recorder(path: str, found: dict[str, BlockIO]) -> Callable[..., None]:
    """A hook that notes what a block is given; one that is given more than tensors can't be run alone."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not kwargs and all(isinstance(value, Tensor) for value in args):
            shapes = tuple(tuple(value.shape[1:]) for value in args)
            dtypes = tuple(value.dtype for value in args)
            found[path] = BlockIO(path, shapes, dtypes, tuple(output.shape[1:]) if isinstance(output, Tensor) else ())

    return hook
