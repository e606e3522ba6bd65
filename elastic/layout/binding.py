"""Matching layout entries to places of a model: which tensors, numbers and containers an entry describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layers.read_rules import DEPTH, Transform
from elastic.layout.notation import AxesText, Factor, count_placeholders, fill, match_paths, parse_axes
from elastic.layout.recipe import Recipe


@dataclass(frozen=True)
class Binding:
    """One layout entry at one place of the model, before its sizes are known."""

    entry: str
    module: str
    tensors: tuple[str, ...] = ()
    """Tensors to slice; a vector beside a matrix (its bias) has one axis only."""
    number: str | None = None
    """A plain number, or a tuple of numbers, that restates sizes."""
    depth: bool = False
    axes: tuple[tuple[Factor, ...], ...] = ()
    open_ended: bool = False
    transform: Transform | None = None
    vectors: int = 0
    """The axis that a vector beside a matrix has: a transposed convolution's bias has the second one."""


def match_entries(model: nn.Module, recipe: Recipe) -> Iterator[Binding]:
    """Yield every place that an entry of the recipe describes; the most specific entry wins.

    Raises:
        LayoutError: an entry that can't be read, that names nothing in the model, or that repeats another.
    """
    modules = dict(model.named_modules())
    taken: dict[tuple[str, str], str] = {}
    entries = sorted(recipe.layout.items(), key=lambda item: count_placeholders(item[0]))
    for entry, text in entries:
        path, optional = entry.removesuffix("?"), entry.endswith("?")
        parsed = parse_axes(text, entry)
        found = list(_places(modules, path, parsed, entry, recipe))
        if not found and not optional:
            raise LayoutError(
                f"layout entry {entry!r}: {type(model).__name__} has no module, tensor or number of that name; "
                f"it has {_nearby(modules, path)}. End the entry with ? if only some models have it"
            )
        for binding in found:
            fresh = _unclaimed(binding, taken, entry)
            if fresh is not None:
                yield fresh


def _unclaimed(binding: Binding, taken: dict[tuple[str, str], str], entry: str) -> Binding | None:
    """The binding without the tensors that a more specific entry has bound; None if nothing is left.

    Raises:
        LayoutError: an equally specific entry has bound them.
    """
    keys = binding.tensors or (binding.number or DEPTH,)
    fresh = []
    for key in keys:
        owner = taken.setdefault((binding.module, key), entry)
        if owner == entry:
            fresh.append(key)
        elif count_placeholders(owner) == count_placeholders(entry):
            where = f"{binding.module}.{key}".lstrip(".")
            raise LayoutError(f"layout entries {owner!r} and {entry!r} both describe {where}; keep one of them")
    if not fresh:
        return None
    if not binding.tensors:
        return binding
    return replace(binding, tensors=tuple(fresh))


def _places(
    modules: Mapping[str, nn.Module], path: str, parsed: AxesText, entry: str, recipe: Recipe
) -> Iterator[Binding]:
    """The places of an entry: modules of that path, or else tensors and numbers of the parent module."""
    transform = recipe.transforms.get(entry)
    for name, captured in match_paths(path, modules):
        tensors = tuple(direct_tensors(modules[name]))
        if not tensors and not modules[name]._modules:
            continue  # a part that this model lacks: an Identity, or a pooling without tensors
        axes = _filled(parsed, captured, entry)
        vectors = int(isinstance(modules[name], nn.modules.conv._ConvTransposeNd))
        yield Binding(entry, name, tensors, None, not tensors, axes, parsed.open_ended, transform, vectors)
    above, _, attribute = path.rpartition(".")
    for name, captured in match_paths(above, modules):
        module = modules[name]
        axes = _filled(parsed, captured, entry)
        if attribute in direct_tensors(module):
            yield Binding(entry, name, (attribute,), None, False, axes, parsed.open_ended, transform)
        elif _is_number(module.__dict__.get(attribute)):
            yield Binding(entry, name, (), attribute, False, axes, parsed.open_ended, None)


def _filled(parsed: AxesText, captured: Mapping[str, str], entry: str) -> tuple[tuple[Factor, ...], ...]:
    return tuple(
        tuple(factor if isinstance(factor, int) else fill(factor, captured, entry) for factor in axis)
        for axis in parsed.axes
    )


def direct_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's own parameters and buffers, scalars (such as a batch counter) left out."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return {name: tensor for name, tensor in own.items() if tensor.ndim}


def _is_number(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_is_number(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _nearby(modules: Mapping[str, nn.Module], path: str) -> str:
    """The names that the model has where an entry's path stops matching, for the error message."""
    while path:
        path = path.rpartition(".")[0]
        for name, _ in match_paths(path, modules):
            parts = [*modules[name]._modules, *direct_tensors(modules[name])]
            return f"{', '.join(parts) or 'nothing'} in {name or 'its root'!r}"
    return ", ".join(modules[""]._modules)


def axes_for(shape: tuple[int, ...], binding: Binding, deepest: int) -> tuple[tuple[Factor, ...], ...]:
    """The axes of one tensor: all of them, or one of them for the vectors beside a matrix (its bias)."""
    axes = binding.axes
    if binding.open_ended and len(axes) <= len(shape):
        return axes + tuple((length,) for length in shape[len(axes) :])
    if len(shape) == len(axes):
        return axes
    if (len(shape) == 1 and deepest > 1) or (len(shape) == 1 and binding.open_ended):
        return axes[binding.vectors : binding.vectors + 1]
    raise LayoutError(
        f"layout entry {binding.entry!r}: {len(axes)} axes for {binding.module or 'the model'}, "
        f"which has a tensor of shape {shape}"
    )
