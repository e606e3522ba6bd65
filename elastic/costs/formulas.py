"""Exact costs of any number of subnets, without activating one.

A layer's parameters and multiply-accumulates are a constant times a product of sizes, present while its block
is; the constant comes from one traced forward pass per resolution. Such a sum is kept as small tables over
few dims each, so that a million encoded archs cost a few look-ups each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from elastic.costs.memory import PeakMemory
from elastic.costs.probing import Probes
from elastic.costs.tracing import Subject
from elastic.errors import CostError
from elastic.layers.modules import Elastic
from elastic.layers.rules import NumberRule, TensorRule, helper_names
from elastic.layout.layout import Sizes
from elastic.space.dims import Gate
from elastic.space.sizes import Size
from elastic.space.space import Rows, SearchSpace
from elastic.space.tables import FlatTable, look_up

_TABLE_LIMIT = 4096


@dataclass(frozen=True)
class Term:
    """One addend of a cost: a constant times a product of sizes, while its gates pass.

    Attributes:
        sizes: names of the sizes that are multiplied; a name may occur twice.
        gates: what the block that it belongs to stands behind.
        constant: the factor; or one per choice of resolution.
    """

    sizes: tuple[str, ...]
    gates: tuple[Gate, ...]
    constant: int | tuple[int, ...]


class TableSum:
    """A sum of terms as look-up tables over the columns of encoded archs."""

    def __init__(self, space: SearchSpace, sizes: Sizes, terms: Sequence[Term]) -> None:
        self.space = space
        self.sizes = sizes
        self.column = {dim.name: at for at, dim in enumerate(space.dims)}
        groups = _grouped(terms, self._dims, lambda dims: self._entries(dims) <= _TABLE_LIMIT)
        self.tables = [self._table(dims, members) for dims, members in groups]

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        """The sum for each row, int64."""
        found: NDArray[np.int64] = look_up([self.tables], rows, np.int64)[0]
        return found

    def _dims(self, term: Term) -> frozenset[str]:
        dims = self.sizes.dims_of(term.sizes) | {gate.depth for gate in term.gates}
        if not isinstance(term.constant, int):
            dims.add("resolution")
        return frozenset(dims & self.column.keys())

    def _entries(self, dims: Iterable[str]) -> int:
        return int(np.prod([len(self.space[dim].choices) for dim in dims], dtype=np.int64))

    def _table(self, dims: frozenset[str], terms: Sequence[Term]) -> FlatTable:
        names = sorted(dims, key=self.column.__getitem__)
        counts = [len(self.space[name].choices) for name in names]
        grid = np.indices(counts).reshape(len(counts), math.prod(counts)).T  # every combination, a row each
        values = {name: np.array(self.space[name].choices)[grid[:, at]] for at, name in enumerate(names)}
        sizes = self.sizes(values)
        resolution = grid[:, names.index("resolution")] if "resolution" in names else 0
        table = np.zeros(len(grid), np.int64)
        for term in terms:
            constant = term.constant if isinstance(term.constant, int) else np.array(term.constant)[resolution]
            table += _product(sizes, term.sizes) * constant * _passing(term.gates, values)
        strides = [int(np.prod(counts[at + 1 :], dtype=np.int64)) for at in range(len(counts))]
        return [self.column[name] for name in names], strides, table


def _last(constant: int | tuple[int, ...]) -> int:
    return constant if isinstance(constant, int) else constant[-1]


def _product(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    product: Any = 1
    for name in names:
        product = product * values[name]
    return product


def _passing(gates: Iterable[Gate], values: Mapping[str, NDArray[Any]]) -> Any:
    passing: Any = 1
    for gate in gates:
        if gate.depth in values:
            passing = passing * np.array([gate.passes(value) for value in values[gate.depth]])
    return passing


def _grouped(
    terms: Sequence[Term], dims_of: Callable[[Term], frozenset[str]], fits: Callable[[frozenset[str]], bool]
) -> list[tuple[frozenset[str], list[Term]]]:
    """Terms that depend on similar dims, together: fewer look-ups."""
    groups: list[tuple[frozenset[str], list[Term]]] = []
    for term in terms:
        dims = dims_of(term)
        for at, (held, members) in enumerate(groups):
            if dims <= held or ((dims & held or not held) and fits(dims | held)):
                groups[at] = (dims | held, [*members, term])
                break
        else:
            groups.append((dims, [term]))
    return groups


class Costs:
    """The cost formulas of one supernet; see `Supernet.macs`, `.params` and `.memory`."""

    def __init__(self, subject: Subject) -> None:
        self._model, self.layout, self._recipe = subject
        self.space = SearchSpace(self.layout.dims)
        self._probes = Probes(subject)
        self._sizes = Sizes(self.space, self.layout)
        self._probed = Sizes(self._probes.space, self._probes.layout)

    @cached_property
    def params(self) -> TableSum:
        """Parameters, by encoded arch."""
        return TableSum(self.space, self._sizes, list(self._parameter_terms()))

    @cached_property
    def macs(self) -> TableSum:
        """Multiply-accumulates, by encoded arch."""
        return TableSum(self.space, self._sizes, self.mac_terms())

    @cached_property
    def memory(self) -> PeakMemory:
        """Peak activation bytes, by encoded arch."""
        return PeakMemory(self.space, self._sizes, self._probes, self._probed)

    # --- terms ----------------------------------------------------------------------------------------------

    def _parameter_terms(self) -> Iterable[Term]:
        seen: set[int] = set()
        for path, module in self._model.named_modules():
            rules = module._elastic if isinstance(module, Elastic) else {}
            helpers = helper_names(rules)
            for name, parameter in module._parameters.items():
                if parameter is None or name in helpers or id(parameter) in seen:
                    continue
                seen.add(id(parameter))
                rule = rules.get(name)
                sizes = rule.axes.sizes if isinstance(rule, TensorRule) else []
                yield self._term(sizes, path, parameter.numel())

    def mac_terms(self) -> list[Term]:
        """One term per module that multiplies, its constant per resolution.

        Raises:
            CostError: a module's multiply-accumulates don't follow from its sizes.
        """
        largest, resolutions = self._probes.values("largest"), range(len(self._probes.resolutions))
        full = [self._probes.trace(largest, at).macs_by_module() for at in resolutions]
        terms = {}
        for path, last in full[-1].items():
            products = self._products(path, len(last))
            if len(products) == 1:  # all that the module does together
                per_resolution = [[sum(counts[path])] for counts in full]
            else:
                per_resolution = [counts[path] for counts in full]
            terms[path] = [
                self._mac_term(sizes, path, counts)
                for sizes, counts in zip(products, zip(*per_resolution, strict=True), strict=True)
            ]
        for kind in ("smallest", "mixed"):
            self._check(terms, kind)
        return list(itertools.chain.from_iterable(terms.values()))

    def _products(self, path: str, count: int) -> list[list[Size]]:
        """The sizes that each of a module's products is proportional to; or all of them together."""
        products = self._recipe.products.get(path)
        if products is not None and len(products) == count:
            return [[self.layout.sizes[name] for name in sizes] for sizes in products]
        sizes = self._multiplied(self._model.get_submodule(path))
        if path in self._recipe.lengths:
            sizes = [*sizes, self.layout.sizes[self._recipe.lengths[path]]]
        return [sizes]

    def _mac_term(self, sizes: Sequence[Size], path: str, counts: Sequence[int]) -> Term:
        """A product, its constant per resolution where resolutions differ."""
        constants = [self._term(sizes, path, count).constant for count in counts]
        constant = tuple(constants) if len(set(constants)) > 1 else constants[0]
        return Term(tuple(size.name for size in sizes), self.layout.gates_of(path), constant)  # type: ignore[arg-type]

    def _check(self, terms: Mapping[str, Sequence[Term]], kind: str) -> None:
        """The formula must give what another traced subnet takes."""
        probe = self._probes.values(kind)
        sizes = self._probed(probe)
        counted = self._probes.trace(probe, len(self._probes.resolutions) - 1).macs_by_module()
        for path, own in terms.items():
            expected = sum(_last(term.constant) * _product(sizes, term.sizes) for term in own)
            found = sum(counted.get(path, ()))
            if found != expected:
                raise CostError(
                    f"multiply-accumulates of {path!r}: {found} counted, {expected} from its sizes "
                    f"{[term.sizes for term in own]}; bind the number that its operators depend on (heads, groups) in "
                    "the layout"
                )

    def _term(self, sizes: Sequence[Size], path: str, full: int) -> Term:
        product = _product({size.name: size.full for size in sizes}, (size.name for size in sizes))
        if full % product:
            raise CostError(f"{path!r}: a cost of {full} is no multiple of its sizes' product {product}")
        return Term(tuple(size.name for size in sizes), self.layout.gates_of(path), full // product)

    @staticmethod
    def _multiplied(module: nn.Module) -> list[Size]:
        """The sizes that a module's own multiply-accumulates are proportional to."""
        rules = module._elastic if isinstance(module, Elastic) else {}
        weight = rules.get("weight")
        if isinstance(weight, TensorRule):
            return weight.axes.sizes
        axes = (axis for rule in rules.values() if isinstance(rule, NumberRule) for axis in rule.axes)
        unique = {size.name: size for axis in axes for size in axis.sizes if size.is_width}
        return list(unique.values())
