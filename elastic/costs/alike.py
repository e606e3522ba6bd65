"""Blocks that are alike: the same modules, whose sizes have the same choices under other names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from elastic.layers.modules import upstream_class
from elastic.layers.read_rules import DEPTH, DepthRule, NumberRule, PaddingRule, ReadRule, TensorRule
from elastic.layers.slicing import TensorAxis
from elastic.layout.layout import Layout
from elastic.space.sizes import Derived, Number, Size

Names = Mapping[str, str]
"""Names of the sizes of one block, each with the name that the like size has in another."""

_OWN = ("_modules", "_elastic")

_SHORTEST = 6
"""Blocks of a run: fewer take as long to repeat as to run."""


@dataclass(frozen=True)
class Run:
    """Six or more blocks of a container that are alike, one after another.

    Attributes:
        paths: of the blocks.
        names: for each block, the names of the second one's sizes with those of its own.
    """

    paths: tuple[str, ...]
    names: tuple[Names, ...]


def find_runs(model: nn.Module, layout: Layout) -> list[Run]:
    """The runs of alike blocks in containers with elastic depth, where there is no such container inside."""
    containers = [path for path, rules in layout.rules.items() if DEPTH in rules]
    inmost = [path for path in containers if not any(one != path and within(one, path) for one in containers)]
    return [
        run
        for path in inmost
        for run in _runs_of(
            model, layout, [f"{path}.{name}".lstrip(".") for name in model.get_submodule(path)._modules]
        )
    ]


def within(path: str, place: str) -> bool:
    """Whether a module is another one or inside it."""
    return not place or path == place or path.startswith(f"{place}.")


def _runs_of(model: nn.Module, layout: Layout, children: Sequence[str]) -> Iterator[Run]:
    start = 0
    while start + _SHORTEST <= len(children):
        names: list[Names] = []
        for child in children[start:]:
            alike = _Comparison(layout, children[start + 1], child).names(model)
            if alike is None:
                break
            names.append(alike)
        if len(names) >= _SHORTEST:
            yield Run(tuple(children[start : start + len(names)]), tuple(names))
        start += max(1, len(names) - 1)  # the last one may begin another run


@dataclass
class _Comparison:
    """Two blocks side by side; `found` collects the sizes' names."""

    layout: Layout
    one: str
    other: str
    found: dict[str, str] = field(default_factory=dict)

    def names(self, model: nn.Module) -> Names | None:
        """The sizes' names if the blocks are alike, else None."""
        pair = [list(model.get_submodule(path).named_modules(prefix=path)) for path in (self.one, self.other)]
        alike = len(pair[0]) == len(pair[1]) and all(
            path.removeprefix(self.one) == place.removeprefix(self.other)
            and self._modules(module, twin)
            and self._rules(path, place)
            for (path, module), (place, twin) in zip(*pair, strict=True)
        )
        return self.found if alike and len(set(self.found.values())) == len(self.found) else None

    def _modules(self, module: nn.Module, twin: nn.Module) -> bool:
        """Whether two modules are of a class and have like tensors and attributes; dropout matters in training only."""
        if upstream_class(module) is not upstream_class(twin) or vars(module).keys() != vars(twin).keys():
            return False
        names = [name for name in vars(module) if name not in _OWN and "drop" not in name]
        return all(self._values(vars(module)[name], vars(twin)[name]) for name in names)

    def _values(self, value: Any, other: Any) -> bool:
        """Whether two values are equal, or the blocks' places: those change with the depth, too."""
        if value is other:
            return True
        if type(value) is not type(other):
            return False
        if isinstance(value, Tensor):
            alike = (value.shape, value.dtype, value.device) == (other.shape, other.dtype, other.device)
            return alike and (value.is_meta or torch.equal(value, other))
        if isinstance(value, dict):
            return value.keys() == other.keys() and all(self._values(value[key], other[key]) for key in value)
        if isinstance(value, (tuple, list)):
            return len(value) == len(other) and all(map(self._values, value, other))
        if isinstance(value, int) and [str(value), str(other)] == [
            path.rpartition(".")[2] for path in (self.one, self.other)
        ]:
            return True
        return isinstance(value, (bool, int, float, str, set)) and bool(value == other)

    def _rules(self, path: str, place: str) -> bool:
        rules, others = (self.layout.rules.get(where, {}) for where in (path, place))
        return rules.keys() == others.keys() and all(self._rule(rules[name], others[name]) for name in rules)

    def _rule(self, rule: ReadRule, other: ReadRule) -> bool:
        match rule, other:
            case TensorRule(), TensorRule():
                same = rule.dense == other.dense and rule.transform == other.transform
                return same and self._axes(rule.axes.axes, other.axes.axes)
            case NumberRule(), NumberRule():
                return rule.as_tuple == other.as_tuple and self._axes(rule.axes, other.axes)
            case PaddingRule(), PaddingRule():
                same = (rule.padding, rule.dilation) == (other.padding, other.dilation)
                return same and self._axes(rule.kernel, other.kernel)
            case DepthRule(), DepthRule():
                return self._factors(rule.size, other.size)
        return False

    def _axes(self, axes: Sequence[TensorAxis], others: Sequence[TensorAxis]) -> bool:
        return len(axes) == len(others) and all(
            len(axis.factors) == len(twin.factors) and all(map(self._factors, axis.factors, twin.factors))
            for axis, twin in zip(axes, others, strict=True)
        )

    def _factors(self, factor: int | Size, other: int | Size) -> bool:
        if isinstance(factor, int) or isinstance(other, int):
            return factor == other
        same = (factor.full, factor.keep) == (other.full, other.keep)
        return same and self._named(factor.name, other.name)

    def _named(self, name: str, other: str) -> bool:
        """Whether two sizes have the same choices, or formulas of such."""
        if name in self.found or name == other:
            return self.found.setdefault(name, other) == other
        self.found[name] = other
        formulas = [self.layout.derived.get(one) for one in (name, other)]
        match formulas:
            case [None, None]:
                return self._choices(name) == self._choices(other)
            case [Derived() as formula, Derived() as twin]:
                same = len(formula.parts) == len(twin.parts) and formula == replace(twin, parts=formula.parts)
                return same and all(map(self._named, formula.parts, twin.parts))
        return False

    def _choices(self, name: str) -> tuple[Number, ...] | None:
        return next((dim.choices for dim in self.layout.dims if dim.name == name), None)
