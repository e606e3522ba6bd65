"""Solving: the full length of every size, from the tensors that are bound to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from elastic.errors import LayoutError
from elastic.layout.binding import Binding, axes_for, direct_tensors
from elastic.layout.notation import ANY, Factor
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Number, Size


class Solver:
    """Finds each size's full length: an axis with one unknown size gives it by division."""

    def __init__(self, model: nn.Module, recipe: Recipe, bindings: Sequence[Binding]) -> None:
        self.recipe = recipe
        self.known: dict[str, int] = {}
        self.ratios: dict[str, Number] = {}
        self.source: dict[str, str] = {}
        self.lengths: list[tuple[str, tuple[Factor, ...], int, str]] = []
        for binding in bindings:
            self.lengths.extend(_lengths(model.get_submodule(binding.module), binding))

    def solve(self) -> dict[str, Size]:
        """Every size by name.

        Raises:
            LayoutError: a length that doesn't fit, or a size that no axis gives.
        """
        if self.recipe.resolution is not None:
            self.known["resolution"] = self.recipe.resolution
            self.source["resolution"] = "resolution"
        self._derive()
        while self._infer():
            self._derive()
        self._check()
        return {name: Size(name, full, self._keep(name)) for name, full in self.known.items()}

    def _keep(self, name: str) -> Any:
        formula = self.recipe.derived.get(name)
        return formula.keep if formula else self.recipe.rule(name).keep

    def _derive(self) -> None:
        """Evaluate the formulas whose parts are known; a ratio without an axis of its own is at its largest."""
        for name, formula in self.recipe.derived.items():
            for part in formula.parts:
                if part not in self.known and part not in self.recipe.derived and self.recipe.rule(part).ratio:
                    self.ratios[part] = max(self.recipe.rule(part).choices)
            values = {**self.known, **self.ratios}
            if name not in self.known and all(part in values for part in formula.parts):
                self.known[name] = formula.evaluate(values)
                self.source[name] = f"its formula {formula}"

    def _infer(self) -> bool:
        """Pass over all axes once.

        Returns:
            Whether a new length was found.
        """
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


def _lengths(module: nn.Module, binding: Binding) -> Iterator[tuple[str, tuple[Factor, ...], int, str]]:
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
        own = direct_tensors(module)
        shapes = {name: tuple(own[name].shape) for name in binding.tensors}
    deepest = max(map(len, shapes.values()))
    for name, shape in shapes.items():
        where = f"{binding.module}.{name}".lstrip(".")
        for at, axis in enumerate(axes_for(shape, binding, deepest)):
            yield entry, axis, shape[at], f"axis {at} of {where} {shape}"
