"""Writing down what was discovered: a recipe, in the notation that people write theirs in."""

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
from elastic.discovery.watching import INDICES, INPUT, Seen
from elastic.layers.rules import has_own_forward
from elastic.layout.recipe import Recipe
from elastic.space.sizes import KERNEL, PART, WIDTH, DimRule, Keep
from elastic.upstream import library_of

_OF_COURSE = {INPUT, INDICES, SIDES}

_NUMBER = re.compile(r"(?<=[.(])\d+(?=[.)])")

_NARROW = 32
"""Below so many units, widths are multiples of 2 only."""


@dataclass
class _Names:
    """A name for each size, after the place where it comes up first."""

    alone: Mapping[str, bool]
    by_atom: dict[int, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def of(self, atom: Atom) -> str:
        return self.by_atom[id(atom)]

    def give(self, atom: Atom, kind: str, path: str) -> None:
        if id(atom) in self.by_atom:
            return
        name = kind if self.alone.get(kind) else f"{kind}.{path}"
        number = 2
        while name in self.taken:
            name, number = f"{kind}.{path}.{number}", number + 1
        self.taken.add(name)
        self.by_atom[id(atom)] = name


def write_recipe(model: nn.Module, seen: Seen, input_size: Sequence[int]) -> Recipe:
    """The recipe of what a forward pass has shown.

    Args:
        model: the model.
        seen: what its forward pass showed.
        input_size: of the input that it was shown on, without the batch axis.
    """
    _fix_what_stays(seen)
    names = _named(seen)
    layout = {}
    for (path, name), axes in seen.tensors.items():
        if any(not atom.why for axis in axes for atom in leaves(axis)):
            layout[_join(path, name)] = " ".join(_text(axis, names) for axis in axes)
    layout |= _numbers(model, seen, names)
    dims = dict.fromkeys(("embed", "width", "hidden"), WIDTH)
    dims |= dict.fromkeys(("heads", "groups", "queries", "depth"), PART)
    dims |= {"kernel": KERNEL, **_special_rules(seen, names)}
    products = {path: [_sizes(axes, names) for axes in several] for path, several in seen.products.items()}
    for path in _kernels(model, seen):
        layout[f"{path}.weight"] = _with_kernel(layout.get(f"{path}.weight"), model, path)
        products[path] = [[*sizes, *[f"kernel.{path}"] * 2] for sizes in products[path]]
    depths = find_depths(model, seen.residual)
    for path, rule in depths.items():
        name = "depth" if len(depths) == 1 else f"depth.{path}"
        layout[path], dims[name] = name, rule
    return Recipe(layout, dims, input_size=tuple(input_size), notes=_notes(model, seen), products=products)


# --- which sizes, and what they are called ---------------------------------------------------------------------------


def _axes(seen: Seen) -> Iterable[tuple[str, Factors]]:
    for (path, _), axes in seen.tensors.items():
        for axis in axes:
            yield path, axis


def _kind(atom: Atom, embeds: bool, parts: set[int]) -> str:
    if "heads" in atom.roles:
        return "heads"
    if "stream" in atom.roles:
        return "embed" if embeds else "width"
    return "groups" if id(atom) in parts else "hidden"


def _parts(seen: Seen) -> set[int]:
    """The sizes that are multiplied by others somewhere: whole groups of units."""
    found = set()
    for _, axis in _axes(seen):
        atoms = leaves(axis)
        found |= {id(atom) for atom in atoms[:1] if len(atoms) > 1 and not atom.why}
    return found


def _named(seen: Seen) -> _Names:
    atoms: dict[int, tuple[Atom, str]] = {}
    for path, axis in _axes(seen):
        for atom in leaves(axis):
            if not atom.why:
                atoms.setdefault(id(atom), (atom, path))
    embeds = any("heads" in atom.roles for atom, _ in atoms.values())
    parts = _parts(seen)
    kinds = {key: _kind(atom, embeds, parts) for key, (atom, _) in atoms.items()} | _shared_heads(seen)
    count = Counter(kinds.values())
    names = _Names({kind: count[kind] == 1 for kind in ("embed", "width", "heads")})
    for key, (atom, path) in atoms.items():
        names.give(atom, kinds[key], path)
    return names


def _shared_heads(seen: Seen) -> dict[int, str]:
    """Where several query heads share keys and values: groups, and queries in each, as in the recipe for Llama."""
    found: dict[int, str] = {}
    for _, axis in _axes(seen):
        heads = [atom for atom in leaves(axis) if "heads" in atom.roles and not atom.why]
        if len(heads) > 1:
            found |= {id(heads[0]): "groups"} | {id(atom): "queries" for atom in heads[1:]}
    return found


def _special_rules(seen: Seen, names: _Names) -> dict[str, DimRule]:
    """Rules of sizes that aren't offered as others of their kind."""
    rules = {}
    for _, axis in _axes(seen):
        for atom in leaves(axis):
            if atom.why or id(atom) not in names.by_atom:
                continue
            name = names.of(atom)
            keep: Keep = "ordered" if atom.ordered else "prefix"
            narrow = atom.length < _NARROW and not name.startswith(("heads", "groups", "queries"))
            if atom.ordered or narrow:
                rules[name] = DimRule((0.5, 0.75, 1.0), multiple=2 if narrow else 8, keep=keep)
    return rules


def _fix_what_stays(seen: Seen) -> None:
    """Of two unknown sizes that are multiplied wherever they are, the inner one stays: nothing tells its length."""
    known: set[int] = set()
    while True:
        found = {
            id(unknown[0])
            for _, axis in _axes(seen)
            if len(unknown := [atom for atom in leaves(axis) if not atom.why and id(atom) not in known]) == 1
        }
        if found:
            known |= found
            continue
        stuck = [u for _, axis in _axes(seen) if (u := [a for a in leaves(axis) if not a.why and id(a) not in known])]
        if not stuck:
            return
        stuck[0][-1].why = "two sizes that are nowhere apart"


def _text(axis: Factors, names: _Names) -> str:
    words = [str(atom.length) if atom.why else names.of(atom) for atom in leaves(axis)]
    return "1" if not words else words[0] if len(words) == 1 else f"({' '.join(words)})"


def _sizes(axes: Iterable[Factors], names: _Names) -> list[str]:
    """The sizes among the factors of several axes."""
    return [names.of(atom) for axis in axes for atom in leaves(axis) if not atom.why and id(atom) in names.by_atom]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- plain numbers ---------------------------------------------------------------------------------------------------


def _numbers(model: nn.Module, seen: Seen, names: _Names) -> dict[str, str]:
    """Entries for the attributes that restate sizes."""
    entries = {}
    whole: dict[tuple[str, str], dict[int | None, Factors]] = {}
    for attribute, axis in [*seen.equations.attributes.items(), *_features(model, seen)]:
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


def _features(model: nn.Module, seen: Seen) -> Iterable[tuple[Attribute, Factors]]:
    """The model's own attributes that restate the width of its classifier's input."""
    length = 1
    for atom in leaves(seen.features):
        length *= atom.length
    for name in library_of(model).width_attributes:
        if length > 1 and vars(model).get(name) == length:
            yield Attribute("", name), seen.features


# --- kernels ---------------------------------------------------------------------------------------------------------


def _kernels(model: nn.Module, seen: Seen) -> Iterable[str]:
    """Depthwise convolutions with a kernel that can be smaller."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and (path, "weight") in seen.tensors:
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


# --- what stays, and why ---------------------------------------------------------------------------------------------


def _notes(model: nn.Module, seen: Seen) -> dict[str, str]:
    """Reasons why an axis of a parameter stays, each with the places where it holds; numbers that vary are `*`."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    places: dict[str, list[str]] = {}
    for (path, name), axes in seen.tensors.items():
        for axis in axes if _join(path, name) in parameters else ():
            atoms = leaves(axis)
            reasons = {_NUMBER.sub("*", atom.why) for atom in atoms if atom.why not in _OF_COURSE}
            if reasons and all(atom.why for atom in atoms):
                places.setdefault(" and ".join(sorted(reasons)), []).append(_NUMBER.sub("*", _join(path, name)))
    return {_where(where): why for why, where in places.items()}


def _where(paths: Sequence[str]) -> str:
    unique = list(dict.fromkeys(paths))
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"
