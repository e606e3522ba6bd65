"""A layout bound to a model: which axis of which tensor has which size, checked before anything changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from elastic.errors import LayoutError
from elastic.layers.aliases import Alias
from elastic.layers.modules import make_elastic
from elastic.layers.read_rules import (
    DEPTH,
    DepthRule,
    NumberRule,
    ReadRule,
    TensorRule,
    has_own_forward,
    number_rules,
    stored_tensor,
)
from elastic.layers.slicing import TensorAxes, TensorAxis
from elastic.layout.binding import Binding, axes_for, direct_tensors, match_entries
from elastic.layout.notation import ANY, Factor
from elastic.layout.recipe import Recipe
from elastic.layout.scaling import scale_weights
from elastic.layout.solving import Solver
from elastic.space.coupling import couple_dims
from elastic.space.dims import Dim, Gate
from elastic.space.sizes import Derived, DimRule, Lookup, Number, Size
from elastic.space.space import SearchSpace


@dataclass(repr=False)
class Layout:
    """A recipe bound to a model: the dims, the formulas, the active sizes, and each module's read rules.

    Attributes:
        dims: the choices that make up an arch.
        derived: formulas by size name, in order of evaluation.
        sizes: every named size with its active value.
        rules: module path → attribute name → read rule.
        gates: module path of a child of an elastic container → the gates that must be open for it to run.
        uncoupled: the dims, and the sizes that would be dims if they didn't follow one.
    """

    dims: tuple[Dim, ...]
    derived: dict[str, Derived | Lookup]
    sizes: dict[str, Size]
    rules: dict[str, dict[str, ReadRule]]
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    uncoupled: tuple[Dim, ...] = ()
    _views: list[tuple[nn.Module, str, TensorRule]] = field(default_factory=list, repr=False)
    """The installed tensors whose active part is a plain view."""

    def __repr__(self) -> str:
        """One line: the dims, and how many sizes and modules there are."""
        counts = f"{len(self.sizes)} sizes, {len(self.rules)} modules that read them"
        return f"Layout({SearchSpace(self.dims)}, {counts})"

    @property
    def full(self) -> dict[str, Number]:
        """Every size, and every dim that is no size but a ratio, by name, at full size."""
        return {dim.name: dim.full for dim in self.dims} | {name: size.full for name, size in self.sizes.items()}

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All sizes by name for these values of the dims: ints, or int64 arrays if the values are arrays."""
        resolved = dict(values)
        for name, formula in self.derived.items():
            resolved[name] = formula.evaluate(resolved)
        return resolved

    def set(self, values: Mapping[str, Number]) -> None:
        """Make these the active values; absent dims are at full size, so the state depends on `values` alone."""
        for name, value in self.resolve({**self.full, **values}).items():
            if name in self.sizes:
                self.sizes[name].value = value

    def followers(self, values: Mapping[str, Number]) -> dict[str, Number]:
        """The sizes that follow a dim and exist for these values of the dims, by name."""
        tables = ((dim, self.derived.get(dim.name)) for dim in self.uncoupled if dim.exists(values))
        return {dim.name: table.evaluate(values) for dim, table in tables if isinstance(table, Lookup)}

    def uncouple(self) -> None:
        """Let every follower choose for itself again, so that the effect of each size can be measured alone."""
        self.dims = self.uncoupled
        self.derived = {name: formula for name, formula in self.derived.items() if isinstance(formula, Derived)}

    def lengths(self, name: str, choices: Mapping[str, Sequence[Number]]) -> list[int]:
        """The possible lengths of a size with these choices of the dims, ascending; other dims are at full size."""
        dims = [dim for dim in dict.fromkeys(free_dims(name, self.derived)) if dim in choices]
        found: set[int] = set()
        for values in itertools.product(*(choices[dim] for dim in dims)):
            found.add(int(self.resolve({**self.full, **dict(zip(dims, values, strict=True))})[name]))
        return sorted(found)

    def alias(self) -> None:
        """Replace active slices that are plain views by leaf tensors (see `elastic.layers.aliases`)."""
        for module, name, rule in self._views:
            rule.aliases.activate(stored_tensor(module, name), rule.axes)

    def unalias(self) -> None:
        """Slice the stored tensors again."""
        for _, _, rule in self._views:
            rule.aliases.clear()

    def aliases(self) -> list[Alias]:
        """The current aliases."""
        return [alias for _, _, rule in self._views if (alias := rule.aliases.current) is not None]

    def gates_of(self, path: str) -> tuple[Gate, ...]:
        """The gates that must be open for the module at `path` to run; none if it always runs."""
        while path:
            if path in self.gates:
                return self.gates[path]
            path = path.rpartition(".")[0]
        return ()

    def install(self, model: nn.Module) -> None:
        """Make the model's modules elastic, in place."""
        for path, rules in self.rules.items():
            module = model.get_submodule(path)
            make_elastic(module, rules)
            for name, rule in rules.items():
                if isinstance(rule, TensorRule) and rule.can_alias:
                    self._views.append((module, name, rule))


def bind(model: nn.Module, recipe: Recipe) -> Layout:
    """Check `recipe` against `model` and compute every size; the model is not changed.

    Raises:
        LayoutError: an unknown axis, a tensor or number that the model doesn't have, a length that doesn't
            fit; the message names the entry. Or dims that can't be coupled.
    """
    bindings = list(match_entries(model, recipe))
    sizes = Solver(model, recipe, bindings).solve()
    rules: dict[str, dict[str, ReadRule]] = {}
    for binding in bindings:
        module = model.get_submodule(binding.module)
        rules.setdefault(binding.module, {}).update(_rules(module, binding, sizes))
    _check_numbers(model, rules)
    if recipe.width_scaling:
        scale_weights(model, rules)
    gates = _container_gates(model, rules)
    return _assemble(recipe, sizes, rules, gates)


# --- making the rules ---------------------------------------------------------------------------------------


def _rules(module: nn.Module, binding: Binding, sizes: Mapping[str, Size]) -> dict[str, ReadRule]:
    def axis(factors: tuple[Factor, ...], length: int) -> TensorAxis:
        return TensorAxis([length if f == ANY else f if isinstance(f, int) else sizes[f] for f in factors])

    if binding.depth:
        return {DEPTH: DepthRule(sizes[str(binding.axes[0][0])])}
    if binding.number is not None:
        value = module.__dict__[binding.number]
        if not isinstance(value, (tuple, list)):
            return {binding.number: NumberRule((axis(binding.axes[0], value),), False)}
        return {binding.number: NumberRule(tuple(map(axis, binding.axes, value)), True)}
    own = {name: tensor for name, tensor in direct_tensors(module).items() if name in binding.tensors}
    deepest = max(tensor.ndim for tensor in own.values())
    rules: dict[str, ReadRule] = {}
    for name, tensor in own.items():
        shape = tuple(tensor.shape)
        axes = TensorAxes(list(map(axis, axes_for(shape, binding, deepest), shape)))
        if not axes.sizes:
            continue
        transform = binding.transform if tensor.ndim == deepest else None
        if transform is None and any(size.keep == "transform" for size in axes.sizes):
            raise LayoutError(f"layout entry {binding.entry!r}: {axes.sizes} needs a transform, the recipe has none")
        rules[name] = TensorRule(axes, transform, dense=has_own_forward(module))
        if name == "weight" or (name == "running_mean" and "weight" not in own):
            rules |= number_rules(module, axes, binding.entry)
    return rules


def _check_numbers(model: nn.Module, rules: Mapping[str, Mapping[str, ReadRule]]) -> None:
    """Check that each number's rule, at full size, reads the model's own number.

    Raises:
        LayoutError: it reads another one, so the entry is wrong.
    """
    for path, own in rules.items():
        module = model.get_submodule(path)
        for name, rule in own.items():
            if not isinstance(rule, (TensorRule, DepthRule)):
                wanted, read = module.__dict__[name], rule.read(module, name)
                if (tuple(wanted) if isinstance(wanted, list) else wanted) != read:
                    raise LayoutError(f"layout of {path or 'the model'}: {name} is {wanted}, its sizes make {read}")


# --- gates: which dims exist only in blocks that depth may leave out ----------------------------------------


def _container_gates(model: nn.Module, rules: Mapping[str, Mapping[str, ReadRule]]) -> dict[str, tuple[Gate, ...]]:
    """The gates of every child of an elastic container, outer containers' gates included."""
    gates: dict[str, tuple[Gate, ...]] = {}
    containers = [(path, rule) for path, own in rules.items() if isinstance(rule := own.get(DEPTH), DepthRule)]
    for path, rule in sorted(containers, key=lambda item: item[0].count(".")):
        outer: tuple[Gate, ...] = ()
        for prefix in _prefixes(path):
            outer = gates.get(prefix, outer)
        for index, child in enumerate(model.get_submodule(path)._modules):
            gates[f"{path}.{child}".lstrip(".")] = (*outer, Gate(rule.size.name, index, rule.size.full, rule.size.keep))
    return gates


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _assemble(
    recipe: Recipe,
    sizes: dict[str, Size],
    rules: dict[str, dict[str, ReadRule]],
    gates: dict[str, tuple[Gate, ...]],
) -> Layout:
    derived = {name: recipe.derived[name] for name in _ordered(recipe.derived) if name in sizes}
    layout = Layout((), {**derived}, sizes, rules, gates)
    layout.dims = layout.uncoupled = _dims(recipe, layout)
    if recipe.couple:
        depths = {gate.depth for own in gates.values() for gate in own}
        layout.derived = {**couple_dims(layout.dims, recipe.couple, depths), **derived}
        layout.dims = _dims(recipe, layout)
    return layout


def _dims(recipe: Recipe, layout: Layout) -> tuple[Dim, ...]:
    """One dim per free size that has several choices."""
    sizes = layout.sizes
    uses: dict[str, set[tuple[Gate, ...]]] = {}
    for path, own in layout.rules.items():
        inside = layout.gates_of(path)
        for name in {size.name for rule in own.values() for size in sizes_of(rule)}:
            for dim in free_dims(name, layout.derived):
                uses.setdefault(dim, set()).add(inside)
    if "resolution" in sizes:
        uses["resolution"] = {()}
    dims, choices_of = [], {}
    for name in sorted(uses, key=_natural):
        rule: DimRule = recipe.rule(name)
        full = sizes[name].full if name in sizes else max(rule.choices)
        choices_of[name] = rule.resolve(int(full) if name in sizes else 0)
        if len(choices_of[name]) > 1:
            dims.append(Dim(name, choices_of[name], uses=frozenset(uses[name]), counted=rule.counted))
    return tuple(dim.simplified(choices_of) for dim in dims)


def sizes_of(rule: ReadRule) -> list[Size]:
    """The sizes that a rule reads."""
    if isinstance(rule, TensorRule):
        return rule.axes.sizes
    if isinstance(rule, NumberRule):
        return [size for axis in rule.axes for size in axis.sizes]
    return [rule.size] if isinstance(rule, DepthRule) else []


def free_dims(name: str, derived: Mapping[str, Derived | Lookup]) -> Iterator[str]:
    """The dims that a size depends on: itself, or those of its formula."""
    if name in derived:
        for part in derived[name].parts:
            yield from free_dims(part, derived)
    else:
        yield name


def _ordered(derived: Mapping[str, Derived]) -> list[str]:
    """Formula names in order of evaluation."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in derived and name not in order:
            for part in derived[name].parts:
                visit(part)
            order.append(name)

    for name in derived:
        visit(name)
    return order


def _natural(name: str) -> tuple[Any, ...]:
    """Sort key: `heads.2` before `heads.10`."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in name.split("."))


class SizeEvaluator:
    """Evaluates sizes for values of the dims; dims without a value are at full size."""

    def __init__(self, space: SearchSpace, layout: Layout) -> None:
        self.space = space
        self.layout = layout
        self.full = layout.full | {dim.name: dim.full for dim in layout.dims}

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All sizes by name: ints, or int64 arrays."""
        free = {name: value for name, value in self.full.items() if name not in self.layout.derived}
        return self.layout.resolve({**free, **values})

    def dims_of(self, names: Iterable[str]) -> set[str]:
        """The dims that these sizes depend on."""
        found: set[str] = set()
        for name in names:
            formula: Derived | Lookup | None = self.layout.derived.get(name)
            found |= self.dims_of(formula.parts) if formula else {name}.intersection(self.space.names)
        return found
