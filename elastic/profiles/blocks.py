"""Blocks of a supernet: which exist, which dims each depends on, and which are identical.

A block is a child of a container with elastic depth, or a module outside all of them, such as stem and head. It has
one variant for each combination of the dims it depends on; identical variants share a signature. A table of latencies
has one time per signature, and a subnet's latency is a sum over its blocks.
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
from elastic.support.inputs import run_model

Shape = tuple[int, ...]
"""Shape of one input, without the batch axis."""

Name = Callable[[nn.Module, "BlockIO"], str]
"""Maps a plain module and its input/output shapes to a signature; an empty string means it costs nothing."""

VARIANTS_LIMIT = 4096
"""Largest number of variants of one block; blocks with more are not tabulated."""

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
_IDLE = (nn.Identity, nn.Dropout)
"""Blocks that do nothing in inference."""


@dataclass(frozen=True)
class BlockIO:
    """A block's inputs and output.

    Attributes:
        path: path of the block in the full model.
        shapes: shapes of the inputs, without the batch axis.
        dtypes: dtypes of the inputs.
        output: shape of the output, without the batch axis; empty if it isn't a single tensor.
    """

    path: str
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]
    output: Shape


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
    """A block of a supernet in all its variants.

    Attributes:
        path: path of the block in the full model.
        dims: names of the dims it depends on, in the space's order.
        gates: gates in front of it; the block runs if all are open.
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
    """All blocks of a supernet, in model order. Passes on the meta device find them; the supernet isn't changed.

    Args:
        supernet: the supernet.
        space: default: the supernet's whole space; or a narrowed one (`SearchSpace.narrow`).
        name: computes signatures; default: `signature`, with which variants that compute different things differ.

    Raises:
        ProfileError: a block has more than `VARIANTS_LIMIT` variants; or the model reads text, so that its layers are
            called with more than tensors.
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
    """Forward passes on a meta copy of the supernet that record every block's inputs and output."""

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
        """For each block, the dims of its own sizes and those that change its inputs."""
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
        """Every variant of every block; each pass records one variant per block, as far as their dims agree."""
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
        """The variant of each block that runs with these dim values, and the largest choices of all other dims."""
        chosen = {**self.largest, **values}
        self.twin.layout.set(chosen)
        given: dict[str, BlockIO] = {}
        with ExitStack() as hooks, torch.inference_mode(False), torch.no_grad():
            for path, module in self.modules.items():
                hooks.callback(module.register_forward_hook(_recorder(path, given), with_kwargs=True).remove)
            recipe = self.twin.recipe
            run_model(self.twin.model, recipe.example_inputs(chosen, device="meta"))
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
    """Paths of the blocks whose input shapes changed."""
    return [path for path, variant in after.items() if variant.io.shapes != before[path].io.shapes]


def _compatible(dims: tuple[str, ...], left: list[tuple[Number, ...]], values: Mapping[str, Number]) -> int | None:
    """Index of the first combination that agrees with the values chosen so far; None if there is none."""
    for index, combination in enumerate(left):
        if all(values.get(name, value) == value for name, value in zip(dims, combination, strict=True)):
            return index
    return None


def _recorder(path: str, found: dict[str, BlockIO]) -> Callable[..., None]:
    """A hook that records a block's inputs and output, unless it is called with more than tensors."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not kwargs and all(isinstance(value, Tensor) for value in args):
            shapes = tuple(tuple(value.shape[1:]) for value in args)
            dtypes = tuple(value.dtype for value in args)
            found[path] = BlockIO(path, shapes, dtypes, tuple(output.shape[1:]) if isinstance(output, Tensor) else ())

    return hook
