"""A layout bound to a model: which axis of which tensor has which size, checked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layers import (
    DEPTH,
    DepthRule,
    NumberRule,
    Rule,
    TensorRule,
    Transform,
    make_elastic,
    number_rules,
)
from elastic.notation import ANY, AxesText, Factor, count_placeholders, fill, match_paths, parse_axes
from elastic.recipe import Recipe
from elastic.sizes import Derived, DimRule, Number, Size
from elastic.slicing import Axes, Axis
from elastic.space import Dim, Gate


@dataclass(frozen=True)
class _Binding:
    """One layout entry at one place of the model, before its sizes are known."""

    entry: str
    module: str
    tensors: tuple[str, ...] = ()
    """Tensors to slice; each takes as many of the axes as it has."""
    number: str | None = None
    """A plain number, or tuple of numbers, to restate."""
    depth: bool = False
    axes: tuple[tuple[Factor, ...], ...] = ()
    open_ended: bool = False
    transform: Transform | None = None


@dataclass
class Layout:
    """What `bind` found: the dims, the formulas, the live sizes, and each module's rules by path."""

    dims: tuple[Dim, ...]
    derived: dict[str, Derived]
    sizes: dict[str, Size]
    rules: dict[str, dict[str, Rule]]
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    """For each module path inside an elastic container: the gates that its block stands behind."""

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All sizes by name for these values of the dims: ints, or int64 arrays where they are arrays."""
        resolved = dict(values)
        for name, formula in self.derived.items():
            resolved[name] = formula.evaluate(resolved)
        return resolved

    def set(self, values: Mapping[str, Number]) -> None:
        """Make these the active values; dims that are absent keep theirs, for nothing reads them."""
        current: dict[str, Number] = {name: size.value for name, size in self.sizes.items()}
        current.update(self._ratios)
        current.update(values)
        for name, value in self.resolve(current).items():
            if name in self.sizes:
                self.sizes[name].value = value

    @property
    def _ratios(self) -> dict[str, Number]:
        return {dim.name: dim.full for dim in self.dims if dim.name not in self.sizes}

    def gates_of(self, path: str) -> tuple[Gate, ...]:
        """The gates that the module at `path` stands behind; none if it always runs."""
        while path:
            if path in self.gates:
                return self.gates[path]
            path = path.rpartition(".")[0]
        return ()

    def install(self, model: nn.Module) -> None:
        """Make the model's modules elastic, in place."""
        for path, rules in self.rules.items():
            make_elastic(model.get_submodule(path), rules)


def bind(model: nn.Module, recipe: Recipe) -> Layout:
    """Check `recipe` against `model` and work out every size; the model is not changed.

    Raises:
        LayoutError: an unknown axis, a tensor or number that the model doesn't have, a length that doesn't
            fit; the message names the entry.
    """
    bindings = list(_match(model, recipe))
    sizes = _Solver(model, recipe, bindings).solve()
    rules: dict[str, dict[str, Rule]] = {}
    for binding in bindings:
        module = model.get_submodule(binding.module)
        rules.setdefault(binding.module, {}).update(_rules(module, binding, sizes))
    _check_numbers(model, rules)
    gates = _container_gates(model, rules)
    return _assemble(recipe, sizes, rules, gates)


# --- matching entries to places -----------------------------------------------------------------------------


def _match(model: nn.Module, recipe: Recipe) -> Iterator[_Binding]:
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


def _unclaimed(binding: _Binding, taken: dict[tuple[str, str], str], entry: str) -> _Binding | None:
    """The binding without what a more specific entry has already bound; an equally specific one is an error."""
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
    return _Binding(**{**binding.__dict__, "tensors": tuple(fresh)})


def _places(
    modules: Mapping[str, nn.Module], path: str, parsed: AxesText, entry: str, recipe: Recipe
) -> Iterator[_Binding]:
    """Where an entry applies: modules of that path, else tensors and numbers of the module above."""
    transform = recipe.transforms.get(entry)
    for name, captured in match_paths(path, modules):
        if isinstance(modules[name], nn.Identity):
            continue  # a part that this model goes without
        tensors = tuple(_direct_tensors(modules[name]))
        axes = _filled(parsed, captured, entry)
        yield _Binding(entry, name, tensors, None, not tensors, axes, parsed.open_ended, transform)
    above, _, attribute = path.rpartition(".")
    for name, captured in match_paths(above, modules):
        module = modules[name]
        axes = _filled(parsed, captured, entry)
        if attribute in _direct_tensors(module):
            yield _Binding(entry, name, (attribute,), None, False, axes, parsed.open_ended, transform)
        elif _is_number(module.__dict__.get(attribute)):
            yield _Binding(entry, name, (), attribute, False, axes, parsed.open_ended, None)


def _filled(parsed: AxesText, captured: Mapping[str, str], entry: str) -> tuple[tuple[Factor, ...], ...]:
    return tuple(
        tuple(factor if isinstance(factor, int) else fill(factor, captured, entry) for factor in axis)
        for axis in parsed.axes
    )


def _direct_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's own parameters and buffers, scalars (such as a batch counter) left out."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return {name: tensor for name, tensor in own.items() if tensor.ndim}


def _is_number(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_is_number(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _nearby(modules: Mapping[str, nn.Module], path: str) -> str:
    """What the model has where an entry's path stops matching: the cure is usually in sight."""
    while path:
        path = path.rpartition(".")[0]
        for name, _ in match_paths(path, modules):
            parts = [*modules[name]._modules, *_direct_tensors(modules[name])]
            return f"{', '.join(parts) or 'nothing'} in {name or 'its root'!r}"
    return ", ".join(modules[""]._modules)


# --- working out the sizes ----------------------------------------------------------------------------------


class _Solver:
    """Finds each size's full length: an axis with one unknown gives it by division."""

    def __init__(self, model: nn.Module, recipe: Recipe, bindings: Sequence[_Binding]) -> None:
        self.recipe = recipe
        self.known: dict[str, int] = {}
        self.ratios: dict[str, Number] = {}
        self.source: dict[str, str] = {}
        self.lengths: list[tuple[str, tuple[Factor, ...], int, str]] = []
        for binding in bindings:
            self.lengths.extend(_lengths(model.get_submodule(binding.module), binding))

    def solve(self) -> dict[str, Size]:
        if self.recipe.resolution is not None:
            self.known["resolution"] = self.recipe.resolution
            self.source["resolution"] = "resolution"
        self._derive()
        while self._infer():
            self._derive()
        self._check()
        return {name: Size(name, full, self._keep(name)) for name, full in self.known.items()}

    def formula(self, name: str) -> Derived | None:
        return self.recipe.derived.get(name)

    def _keep(self, name: str) -> Any:
        formula = self.formula(name)
        return formula.keep if formula else self.recipe.rule(name).keep

    def _derive(self) -> None:
        """Evaluate the formulas whose parts are known; a ratio that has no axis is at its largest."""
        for name, formula in self.recipe.derived.items():
            for part in formula.parts:
                if part not in self.known and part not in self.recipe.derived and self.recipe.rule(part).ratio:
                    self.ratios[part] = max(self.recipe.rule(part).choices)
            values = {**self.known, **self.ratios}
            if name not in self.known and all(part in values for part in formula.parts):
                self.known[name] = formula.evaluate(values)
                self.source[name] = f"its formula {formula}"

    def _infer(self) -> bool:
        """One pass over all axes; whether something new was found."""
        found = False
        for entry, axis, length, _ in self.lengths:
            unknown = [f for f in axis if isinstance(f, str) and f != ANY and f not in self.known]
            if len(unknown) != 1 or ANY in axis or unknown[0] in self.recipe.derived:
                continue
            rest = self._product(axis)
            if length % rest:
                raise LayoutError(
                    f"layout entry {entry!r}: an axis of length {length} can't be ({_words(axis)}): "
                    f"it isn't a multiple of {rest}"
                )
            self.known[unknown[0]] = length // rest
            self.source[unknown[0]] = entry
            found = True
        return found

    def _product(self, axis: tuple[Factor, ...]) -> int:
        product = 1
        for factor in axis:
            product *= factor if isinstance(factor, int) else self.known.get(factor, 1)
        return product

    def _check(self) -> None:
        for entry, axis, length, where in self.lengths:
            if ANY in axis:
                if len(axis) > 1:
                    raise LayoutError(f"layout entry {entry!r}: _ stands alone, not in a group ({_words(axis)})")
                continue
            unknown = [f for f in axis if isinstance(f, str) and f not in self.known]
            if unknown:
                raise LayoutError(
                    f"layout entry {entry!r}: can't work out {' and '.join(map(repr, unknown))} from ({_words(axis)}) "
                    f"= {length}; bind each of them once to an axis of its own, or give it a formula"
                )
            if self._product(axis) != length:
                known = ", ".join(f"{f} = {self.known[f]} (from {self.source[f]})" for f in axis if isinstance(f, str))
                raise LayoutError(
                    f"layout entry {entry!r}: {where} is {length} long, ({_words(axis)}) makes {self._product(axis)}"
                    + (f"; {known}" if known else "")
                )


def _words(axis: tuple[Factor, ...]) -> str:
    return " ".join(map(str, axis))


def _lengths(module: nn.Module, binding: _Binding) -> Iterator[tuple[str, tuple[Factor, ...], int, str]]:
    """(entry, factors, length, where) of every axis that a binding describes."""
    entry, axes = binding.entry, binding.axes
    if binding.depth:
        if len(axes) != 1 or binding.open_ended:
            raise LayoutError(f"layout entry {entry!r}: a container has one size, its depth; got {len(axes)} axes")
        yield entry, axes[0], len(module._modules), f"the container {binding.module!r}"
        return
    if binding.number is not None:
        value = module.__dict__[binding.number]
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        shapes = {binding.number: values}
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in _direct_tensors(module).items() if name in binding.tensors}
    deepest = max(map(len, shapes.values()))
    for name, shape in shapes.items():
        where = f"{binding.module}.{name}".lstrip(".")
        for at, axis in enumerate(_axes_for(shape, binding, deepest)):
            yield entry, axis, shape[at], f"axis {at} of {where} {shape}"


def _axes_for(shape: tuple[int, ...], binding: _Binding, deepest: int) -> tuple[tuple[Factor, ...], ...]:
    """The axes of one tensor: all of them, or the first one for the vectors beside a matrix (its bias)."""
    axes = binding.axes
    if binding.open_ended and len(axes) <= len(shape):
        return axes + tuple((length,) for length in shape[len(axes) :])
    if len(shape) == len(axes):
        return axes
    if len(shape) == 1 and deepest > 1 or len(shape) == 1 and binding.open_ended:
        return axes[:1]
    raise LayoutError(
        f"layout entry {binding.entry!r}: {len(axes)} axes for {binding.module or 'the model'}, "
        f"which has a tensor of shape {shape}"
    )


# --- making the rules ---------------------------------------------------------------------------------------


def _rules(module: nn.Module, binding: _Binding, sizes: Mapping[str, Size]) -> dict[str, Rule]:
    def axis(factors: tuple[Factor, ...], length: int) -> Axis:
        return Axis([length if f == ANY else f if isinstance(f, int) else sizes[f] for f in factors])

    if binding.depth:
        return {DEPTH: DepthRule(sizes[str(binding.axes[0][0])])}
    if binding.number is not None:
        value = module.__dict__[binding.number]
        if not isinstance(value, (tuple, list)):
            return {binding.number: NumberRule((axis(binding.axes[0], value),), False)}
        return {binding.number: NumberRule(tuple(map(axis, binding.axes, value)), True)}
    own = {name: tensor for name, tensor in _direct_tensors(module).items() if name in binding.tensors}
    deepest = max(tensor.ndim for tensor in own.values())
    rules: dict[str, Rule] = {}
    for name, tensor in own.items():
        shape = tuple(tensor.shape)
        axes = Axes(list(map(axis, _axes_for(shape, binding, deepest), shape)))
        if not axes.sizes:
            continue
        transform = binding.transform if tensor.ndim == deepest else None
        if transform is None and any(size.keep == "transform" for size in axes.sizes):
            raise LayoutError(f"layout entry {binding.entry!r}: {axes.sizes} needs a transform, the recipe has none")
        rules[name] = TensorRule(axes, transform)
        if name == "weight":
            rules |= number_rules(module, axes, binding.entry)
    return rules


def _check_numbers(model: nn.Module, rules: Mapping[str, Mapping[str, Rule]]) -> None:
    """A rule at full size must read what the model has: the notation can't have said something else."""
    for path, own in rules.items():
        module = model.get_submodule(path)
        for name, rule in own.items():
            if not isinstance(rule, (TensorRule, DepthRule)):
                wanted, given = module.__dict__[name], rule.read(module, name)
                if (tuple(wanted) if isinstance(wanted, list) else wanted) != given:
                    raise LayoutError(f"layout of {path or 'the model'}: {name} is {wanted}, its sizes make {given}")


# --- gates: which dims exist only in blocks that depth may leave out ----------------------------------------


def _container_gates(model: nn.Module, rules: Mapping[str, Mapping[str, Rule]]) -> dict[str, tuple[Gate, ...]]:
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
    rules: dict[str, dict[str, Rule]],
    gates: dict[str, tuple[Gate, ...]],
) -> Layout:
    derived = {name: recipe.derived[name] for name in _ordered(recipe.derived) if name in sizes}
    layout = Layout((), derived, sizes, rules, gates)
    uses: dict[str, set[tuple[Gate, ...]]] = {}
    for path, own in rules.items():
        inside = layout.gates_of(path)
        for name in {size.name for rule in own.values() for size in _sizes_of(rule)}:
            for dim in _free(name, derived):
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
    layout.dims = tuple(dim.simplified(choices_of) for dim in dims)
    return layout


def _sizes_of(rule: Rule) -> list[Size]:
    if isinstance(rule, TensorRule):
        return rule.axes.sizes
    if isinstance(rule, NumberRule):
        return [size for axis in rule.axes for size in axis.sizes]
    return [rule.size] if isinstance(rule, DepthRule) else []


def _free(name: str, derived: Mapping[str, Derived]) -> Iterator[str]:
    """The dims that a size depends on: itself, or its formula's."""
    if name in derived:
        for part in derived[name].parts:
            yield from _free(part, derived)
    else:
        yield name


def _ordered(derived: Mapping[str, Derived]) -> list[str]:
    """Formula names, parts before what uses them."""
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
