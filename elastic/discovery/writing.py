"""Writing a discovered recipe, in the same notation as recipes that people write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from elastic.discovery.atoms import Atom, Factors, leaves
from elastic.discovery.depths import find_depths
from elastic.discovery.numbers import Attribute
from elastic.discovery.rules.products import SIDES
from elastic.discovery.watching import INDICES, INPUT, Observations
from elastic.layers.read_rules import has_own_forward
from elastic.layout.recipe import Recipe
from elastic.space.sizes import KERNEL, PART, WIDTH, DimRule, Keep
from elastic.upstream import library_of

_OF_COURSE = {INPUT, INDICES, SIDES}

_NUMBER = re.compile(r"(?<=[.(])\d+(?=[.)])")

_NARROW = 32
"""Widths below this number of units are multiples of 2 instead of 8."""


@dataclass
class _Names:
    """A name for each size, after the first place where it occurs."""

    alone: Mapping[str, bool]
    by_atom: dict[int, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def of(self, atom: Atom) -> str:
        return self.by_atom[id(atom)]

    def give(self, atom: Atom, kind: str, path: str) -> None:
        if id(atom) in self.by_atom:
            return
        path = path or "model"  # a parameter of the model itself
        name = kind if self.alone.get(kind) else f"{kind}.{path}"
        number = 2
        while name in self.taken:
            name, number = f"{kind}.{path}.{number}", number + 1
        self.taken.add(name)
        self.by_atom[id(atom)] = name


def write_recipe(model: nn.Module, observed: Observations, input_size: Sequence[int]) -> Recipe:
    """Write the recipe that follows from a watched forward pass.

    Args:
        model: the model.
        observed: in its forward pass.
        input_size: shape of one input of that pass, without the batch axis.
    """
    _fix_what_stays(observed)
    names = _named(observed)
    layout = {}
    for (path, name), axes in observed.tensors.items():
        if any(not atom.why for axis in axes for atom in leaves(axis)):
            layout[_join(path, name)] = " ".join(_text(axis, names) for axis in axes)
    layout |= _numbers(model, observed, names)
    dims = dict.fromkeys(("embed", "width", "hidden"), WIDTH)
    dims |= dict.fromkeys(("heads", "groups", "queries", "depth"), PART)
    dims |= {"kernel": KERNEL, **_special_rules(observed, names)}
    for path in _kernels(model, observed):
        layout[f"{path}.weight"] = _with_kernel(layout.get(f"{path}.weight"), model, path)
    depths = find_depths(model, observed.residual)
    for path, rule in depths.items():
        name = "depth" if len(depths) == 1 else f"depth.{path}"
        layout[path], dims[name] = name, rule
    return Recipe(layout, dims, input_size=tuple(input_size), notes=_notes(model, observed))


# --- the sizes, and their names --------------------------------------------------------------------------------------


def _axes(observed: Observations) -> Iterable[tuple[str, Factors]]:
    for (path, _), axes in observed.tensors.items():
        for axis in axes:
            yield path, axis


def _kind(atom: Atom, embeds: bool, parts: set[int]) -> str:
    if "heads" in atom.roles:
        return "heads"
    if "stream" in atom.roles:
        return "embed" if embeds else "width"
    return "groups" if id(atom) in parts else "hidden"


def _parts(observed: Observations) -> set[int]:
    """Ids of the sizes that are the outer factor of some axis: numbers of groups."""
    found = set()
    for _, axis in _axes(observed):
        atoms = leaves(axis)
        found |= {id(atom) for atom in atoms[:1] if len(atoms) > 1 and not atom.why}
    return found


def _named(observed: Observations) -> _Names:
    atoms: dict[int, tuple[Atom, str]] = {}
    for path, axis in _axes(observed):
        for atom in leaves(axis):
            if not atom.why:
                atoms.setdefault(id(atom), (atom, path))
    embeds = any("heads" in atom.roles for atom, _ in atoms.values())
    parts = _parts(observed)
    kinds = {key: _kind(atom, embeds, parts) for key, (atom, _) in atoms.items()} | _shared_heads(observed)
    count = Counter(kinds.values())
    names = _Names({kind: count[kind] == 1 for kind in ("embed", "width", "heads")})
    for key, (atom, path) in atoms.items():
        names.give(atom, kinds[key], path)
    return names


def _shared_heads(observed: Observations) -> dict[int, str]:
    """Kinds of the sizes of grouped-query attention: groups, and queries in each, as in the recipe for Llama."""
    found: dict[int, str] = {}
    for _, axis in _axes(observed):
        heads = [atom for atom in leaves(axis) if "heads" in atom.roles and not atom.why]
        if len(heads) > 1:
            found |= {id(heads[0]): "groups"} | {id(atom): "queries" for atom in heads[1:]}
    return found


def _special_rules(observed: Observations, names: _Names) -> dict[str, DimRule]:
    """Choices of the sizes whose choices differ from others of their kind."""
    rules = {}
    for _, axis in _axes(observed):
        for atom in leaves(axis):
            if atom.why or id(atom) not in names.by_atom:
                continue
            name = names.of(atom)
            keep: Keep = "ordered" if atom.ordered else "prefix"
            narrow = atom.length < _NARROW and not name.startswith(("heads", "groups", "queries"))
            if atom.ordered or narrow:
                rules[name] = DimRule((0.5, 0.75, 1.0), multiple=2 if narrow else 8, keep=keep)
    return rules


def _fix_what_stays(observed: Observations) -> None:
    """Fix sizes that can't be told apart.

    If two unknown sizes occur only as a product, only the product is known; we fix the inner one and keep the outer one
    elastic.
    """
    known: set[int] = set()
    while True:
        found = {
            id(unknown[0])
            for _, axis in _axes(observed)
            if len(unknown := [atom for atom in leaves(axis) if not atom.why and id(atom) not in known]) == 1
        }
        if found:
            known |= found
            continue
        open_axes = ([a for a in leaves(axis) if not a.why and id(a) not in known] for _, axis in _axes(observed))
        stuck = next(filter(None, open_axes), None)
        if stuck is None:
            return
        stuck[-1].why = "two sizes that occur as a product only"


def _text(axis: Factors, names: _Names) -> str:
    words = [str(atom.length) if atom.why else names.of(atom) for atom in leaves(axis)]
    return "1" if not words else words[0] if len(words) == 1 else f"({' '.join(words)})"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- plain numbers ---------------------------------------------------------------------------------------------------


def _numbers(model: nn.Module, observed: Observations, names: _Names) -> dict[str, str]:
    """Layout entries for the attributes that restate sizes."""
    entries = {}
    whole: dict[tuple[str, str], dict[int | None, Factors]] = {}
    for attribute, axis in [*observed.equations.attributes.items(), *_features(model, observed)]:
        whole.setdefault((attribute.path, attribute.name), {})[attribute.index] = axis
    for (path, name), axes in whole.items():
        if all(atom.why or id(atom) not in names.by_atom for axis in axes.values() for atom in leaves(axis)):
            continue
        if None in axes:
            entries[_join(path, name)] = _text(axes[None], names)
        else:
            values = getattr(model.get_submodule(path), name)
            words = [_text(axes[at], names) if at in axes else str(value) for at, value in enumerate(values)]
            entries[_join(path, name)] = " ".join(words)
    return entries


def _features(model: nn.Module, observed: Observations) -> Iterable[tuple[Attribute, Factors]]:
    """The model's own attributes that restate the width of its classifier's input."""
    length = 1
    for atom in leaves(observed.features):
        length *= atom.length
    for name in library_of(model).width_attributes:
        if length > 1 and vars(model).get(name) == length:
            yield Attribute("", name), observed.features


# --- kernels ---------------------------------------------------------------------------------------------------------


def _kernels(model: nn.Module, observed: Observations) -> Iterable[str]:
    """Paths of the depthwise convolutions whose kernel can shrink."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and (path, "weight") in observed.tensors:
            side, padding = module.kernel_size[0], module.padding
            same = padding == tuple((side - 1) // 2 * step for step in module.dilation)
            own = padding == "same" or (not any(padding) and has_own_forward(module))
            depthwise = 1 < module.groups == module.in_channels == module.out_channels
            if depthwise and side > 3 and side % 2 and len(set(module.kernel_size)) == 1 and (same or own):
                yield path


def _with_kernel(text: str | None, model: nn.Module, path: str) -> str:
    conv = model.get_submodule(path)
    assert isinstance(conv, nn.Conv2d)
    side, channels = str(conv.kernel_size[0]), str(conv.out_channels)
    text = text or f"{channels} 1 {side} {side}"
    return f"{text.removesuffix(f' {side} {side}')} kernel.{path} kernel.{path}"


# --- fixed axes, and why ---------------------------------------------------------------------------------------------


def _notes(model: nn.Module, observed: Observations) -> dict[str, str]:
    """Parameters with a fixed axis → the reason; numbers that vary are written `*`."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    places: dict[str, list[str]] = {}
    for (path, name), axes in observed.tensors.items():
        for axis in axes if _join(path, name) in parameters else ():
            atoms = leaves(axis)
            reasons = {_NUMBER.sub("*", atom.why) for atom in atoms if atom.why not in _OF_COURSE}
            if reasons and all(atom.why for atom in atoms):
                places.setdefault(" and ".join(sorted(reasons)), []).append(_NUMBER.sub("*", _join(path, name)))
    return {_where(where): why for why, where in places.items()}


def _where(paths: Sequence[str]) -> str:
    unique = list(dict.fromkeys(paths))
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"
