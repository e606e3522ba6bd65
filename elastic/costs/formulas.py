"""Exact costs of any number of subnets, without activating one.

A layer's parameters and multiply-accumulates are a constant times a product of sizes, present while its block
is; the constant comes from one traced forward pass per resolution. Such a sum is kept as small tables over
few dims each, so that a million encoded archs cost a few look-ups each.
"""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from elastic.costs.memory import PeakMemory
from elastic.costs.probing import Probes
from elastic.costs.tracing import Subject
from elastic.errors import CostError
from elastic.layers.modules import Elastic
from elastic.layers.read_rules import TensorRule, helper_names
from elastic.layout.layout import SizeEvaluator
from elastic.space.dims import Gate
from elastic.space.sizes import Size
from elastic.space.space import SearchSpace
from elastic.space.tables import Table, TableSum, grid_rows

_TABLE_LIMIT = 4096


@dataclass(frozen=True)
class CostTerm:
    """One addend of a cost: a constant times a product of sizes, while its gates pass.

    Attributes:
        sizes: names of the sizes that are multiplied; a name may occur twice.
        gates: of the block that it belongs to.
        constant: the factor; or one per choice of resolution.
        path: the module that it is a cost of.
    """

    sizes: tuple[str, ...]
    gates: tuple[Gate, ...]
    constant: int | tuple[int, ...]
    path: str


def tabulated(space: SearchSpace, sizes: SizeEvaluator, terms: Iterable[CostTerm]) -> TableSum:
    """The sum of terms, int64, as tables over the choices of a space.

    Args:
        space: whose archs are encoded.
        sizes: evaluates all sizes for values of the space's dims.
        terms: the addends.
    """
    names = [dim.name for dim in space.dims]

    def columns_of(term: CostTerm) -> frozenset[int]:
        dims = sizes.dims_of(term.sizes) | {gate.depth for gate in term.gates}
        if not isinstance(term.constant, int):
            dims.add("resolution")
        return frozenset(names.index(dim) for dim in dims.intersection(names))

    def fits(columns: frozenset[int]) -> bool:
        return bool(math.prod(space.counts[list(columns)].tolist()) <= _TABLE_LIMIT)

    groups = _grouped(((columns_of(term), term) for term in terms), fits)
    return TableSum(space, [_table(space, sizes, columns, members) for columns, members in groups], np.int64)


def _table(space: SearchSpace, sizes: SizeEvaluator, columns: Iterable[int], terms: Iterable[CostTerm]) -> Table:
    ordered = tuple(sorted(columns))
    grid = grid_rows(space, ordered)
    values = {space.dims[at].name: np.array(space.dims[at].choices)[grid[:, at]] for at in ordered}
    evaluated = sizes(values)
    total = np.zeros(len(grid), np.int64)
    for term in terms:
        constant: Any = term.constant
        if not isinstance(constant, int):
            constant = np.array(constant)[grid[:, space.names.index("resolution")]]
        passing = math.prod(gate.passes(values[gate.depth]) for gate in term.gates if gate.depth in values)
        total += _product(evaluated, term.sizes) * constant * passing
    return Table(ordered, total.reshape(space.counts[list(ordered)]))


def _product(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    return math.prod(values[name] for name in names)


def _grouped(
    terms: Iterable[tuple[frozenset[int], CostTerm]], fits: Callable[[frozenset[int]], bool]
) -> list[tuple[frozenset[int], list[CostTerm]]]:
    """Terms that depend on similar columns, together: fewer look-ups."""
    groups: list[tuple[frozenset[int], list[CostTerm]]] = []
    for columns, term in terms:
        for at, (held, members) in enumerate(groups):
            if columns <= held or ((columns & held or not held) and fits(columns | held)):
                groups[at] = (columns | held, [*members, term])
                break
        else:
            groups.append((columns, [term]))
    return groups


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection within the block.

    Traced passes make many small objects, and nearly all are gone at once; a full collection would look at all that
    PyTorch and timm have imported, and take as long as the passes.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class CostFormulas:
    """The cost formulas of one supernet; see `Supernet.macs`, `.params` and `.memory`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._model, self.layout, _ = subject
        self.space = SearchSpace(self.layout.dims)
        self._sizes = SizeEvaluator(self.space, self.layout)

    def __repr__(self) -> str:
        """One line."""
        return f"CostFormulas({type(self._model).__name__}, {self.space})"

    @cached_property
    def params(self) -> TableSum:
        """Parameters, by encoded arch."""
        return tabulated(self.space, self._sizes, self._parameter_terms())

    @cached_property
    def macs(self) -> TableSum:
        """Multiply-accumulates, by encoded arch."""
        with _no_collection():
            return tabulated(self.space, self._sizes, self.mac_terms())

    @cached_property
    def memory(self) -> PeakMemory:
        """Peak activation bytes, by encoded arch."""
        with _no_collection():
            return PeakMemory(self.space, self._sizes, self._probes)

    @cached_property
    def _probes(self) -> Probes:
        return Probes(self._subject)

    # --- terms ----------------------------------------------------------------------------------------------

    def _parameter_terms(self) -> Iterable[CostTerm]:
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

    def mac_terms(self) -> list[CostTerm]:
        """One term per module that multiplies and product of sizes, its constant per resolution.

        Raises:
            CostError: a module's multiply-accumulates are no product of its sizes.
        """
        count = len(self._probes.resolutions)
        found: dict[tuple[str, tuple[str, ...], tuple[Gate, ...]], list[int]] = {}
        for at in range(count):
            for one in self._probes.trace(self._probes.coded_values(at)).multiplying():
                sizes, constant = self._read(one.path, one.macs)
                key = one.path, sizes, self._probes.gates_of(one.blocks)
                found.setdefault(key, [0] * count)[at] += constant
        terms = [
            CostTerm(sizes, gates, tuple(each) if len(set(each)) > 1 else each[0], path)
            for (path, sizes, gates), each in found.items()
        ]
        self._check(terms)
        return terms

    def _read(self, path: str, macs: int) -> tuple[tuple[str, ...], int]:
        """The sizes that multiply-accumulates are proportional to, kernels last, and the constant."""
        kernels = self._probes.kernels_of(path)
        area = math.prod(self.layout.sizes[name].full for name in kernels)
        found = self._probes.coded.read(macs)
        if found is None or found[1] % area:
            raise CostError(f"multiply-accumulates of {path!r} are no product of its sizes")
        return (*found[0], *kernels), found[1] // area

    def _check(self, terms: Sequence[CostTerm]) -> None:
        """Check the terms against the smallest subnet's traced MACs."""
        sizes = self._probes.smallest_values(len(self._probes.resolutions) - 1)
        counted: Counter[str] = Counter()
        for one in self._probes.trace(sizes).multiplying():
            counted[one.path] += one.macs
        expected: Counter[str] = Counter()
        for term in terms:
            constant = term.constant if isinstance(term.constant, int) else term.constant[-1]
            expected[term.path] += constant * _product(sizes, term.sizes)
        for path in counted | expected:
            if expected[path] != counted[path]:
                raise CostError(
                    f"multiply-accumulates of {path!r}: {counted[path]} counted in the smallest subnet, "
                    f"{expected[path]} from its sizes {[term.sizes for term in terms if term.path == path]}; bind the "
                    "number that its operators depend on (heads, groups) in the layout"
                )

    def _term(self, sizes: Sequence[Size], path: str, full: int) -> CostTerm:
        product = _product({size.name: size.full for size in sizes}, (size.name for size in sizes))
        if full % product:
            raise CostError(f"{path!r}: a cost of {full} is no multiple of its sizes' product {product}")
        return CostTerm(tuple(size.name for size in sizes), self.layout.gates_of(path), full // product, path)
