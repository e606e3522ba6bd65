"""Peak activation memory: the largest sum of tensors alive at once, as a formula in the sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elastic.costs.tracing import Buffer, CostTrace
from elastic.errors import CostError
from elastic.space.dims import Gate
from elastic.space.sizes import Number
from elastic.space.space import Rows, SearchSpace

if TYPE_CHECKING:
    from elastic.costs.probing import Probes
    from elastic.layout.layout import SizeEvaluator


_CHUNK = 16384
"""Rows at a time: what they need stays in the processor's cache."""


@dataclass(frozen=True)
class PerKernel:
    """A factor that is no product of sizes but depends on one kernel: the area of an input padded for it."""

    kernel: str
    factors: tuple[tuple[Number, int], ...]

    def __call__(self, sizes: Mapping[str, Any]) -> Any:
        """The factor where the kernel has this size: an int, or an array where it is one."""
        values = np.asarray(sizes[self.kernel])
        return sum(np.where(values == size, factor, 0) for size, factor in self.factors)


ByteFactors = tuple[str | PerKernel, ...]
"""The factors whose product, times a constant, is a tensor's number of bytes."""


@dataclass(frozen=True)
class SingleUnit:
    """A condition on a width: it is 1, or isn't. Moving an axis of one unit takes no copy: other operators run."""

    size: str
    one: bool

    def passes(self, value: Any) -> Any:
        """Whether the condition holds at this width: a bool, or an array of them for an array of widths."""
        return (value == 1) == self.one


Condition = Gate | SingleUnit
MemoryTerm = tuple[ByteFactors, tuple[Condition, ...]]
"""Bytes in proportion to factors, there under conditions of their own: those of another block that made them."""


@dataclass(frozen=True)
class _PeakCandidate:
    """One point of the forward pass: the bytes of the tensors alive there, per term, and its conditions."""

    conditions: tuple[Condition, ...]
    bytes_per: Mapping[MemoryTerm, int]

    def covers(self, other: _PeakCandidate) -> bool:
        """Whether this point is reached whenever the other is, with at least as many bytes alive."""
        return set(self.conditions) <= set(other.conditions) and all(
            self.bytes_per.get(term, 0) >= count for term, count in other.bytes_per.items()
        )


class PeakMemory:
    """Peak activation bytes by encoded arch."""

    def __init__(self, space: SearchSpace, sizes: SizeEvaluator, probes: Probes) -> None:
        """Find the formula.

        Args:
            space: whose archs are encoded.
            sizes: evaluates all sizes for values of the space's dims.
            probes: what is traced.

        Raises:
            CostError: a tensor whose bytes are no product of sizes, or a recurrent layer.
        """
        for path in probes.recurrent:
            raise CostError(
                f"peak memory: the recurrent layer {path!r} runs in each device's own kernels, so memory differs and "
                "no formula holds for all; use macs or params"
            )
        self.space = space
        self.sizes = sizes
        self.candidates = [
            _largest(_candidates(probes, ones, at) for ones in probes.cases()) for at in range(len(probes.resolutions))
        ]

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        """Peak bytes for each row, int64."""
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        return np.concatenate([np.zeros(0, np.int64), *map(self._chunk, chunks)])

    def _chunk(self, rows: Rows) -> NDArray[np.int64]:
        values = self.space.values(rows)
        names = [dim.name for dim in self.space.dims]
        at = rows[:, names.index("resolution")] if "resolution" in names else np.zeros(len(rows), np.int16)
        peak = np.zeros(len(rows))
        for resolution in np.unique(at):
            here = at == resolution
            inside = {name: value[here] for name, value in values.items()}
            peak[here] = _peak(self.candidates[resolution], self.sizes(inside), int(here.sum()))
        return peak.astype(np.int64)


def _peak(candidates: Sequence[_PeakCandidate], sizes: Mapping[str, Any], n: int) -> NDArray[Any]:
    products: dict[MemoryTerm, Any] = {}
    passing: dict[Condition, Any] = {}

    def passes(conditions: Iterable[Condition]) -> Any:
        for condition in conditions:
            if condition not in passing:
                name = condition.depth if isinstance(condition, Gate) else condition.size
                passing[condition] = condition.passes(sizes[name])
        return math.prod((passing[condition] for condition in conditions), start=1)

    peak = np.zeros(n)
    for candidate in candidates:
        alive = np.zeros(n)  # float64 holds bytes exactly up to 2^53
        for term, count in candidate.bytes_per.items():
            if term not in products:
                factors, conditions = term
                arrays = [np.broadcast_to(factor, n) for factor in _evaluated(factors, sizes)]
                product = np.prod(arrays, axis=0, dtype=np.float64)
                products[term] = product * passes(conditions)
            alive += products[term] * count
        np.maximum(peak, alive * passes(candidate.conditions), out=peak)
    return peak


def _evaluated(factors: ByteFactors, sizes: Mapping[str, Any]) -> list[Any]:
    return [sizes[factor] if isinstance(factor, str) else factor(sizes) for factor in factors]


def _candidates(probes: Probes, ones: frozenset[str], resolution: int) -> Iterator[_PeakCandidate]:
    """A candidate for each operator: what is alive while it runs, if exactly the single units `ones` are 1."""
    full = probes.trace(probes.coded_values(resolution, ones))
    terms = _terms(probes, ones, resolution)
    _check(probes, ones, resolution, terms)
    if ones:
        _restore_elsewhere(probes, ones, resolution, terms)
    gates = [() if made.passed_on else probes.gates_of(made.blocks) for made in full.buffers]
    for operation in full.operations:
        own = probes.gates_of(operation.blocks)
        alive: dict[MemoryTerm, int] = {}
        for at in operation.live:
            factors, count = terms[at]
            term = factors, tuple(gate for gate in gates[at] if gate not in own)
            alive[term] = alive.get(term, 0) + count
        single = [SingleUnit(name, name in ones) for name in probes.single_of(operation.path)]
        yield _PeakCandidate((*own, *single), alive)


def _terms(probes: Probes, ones: frozenset[str], resolution: int) -> list[tuple[ByteFactors, int]]:
    """For each buffer, the factors of its bytes, and the constant."""
    full = probes.trace(probes.coded_values(resolution, ones))
    kernels = sorted({choice for choices in probes.kernels.values() for choice in choices})
    by_kernel = {side: probes.trace(probes.coded_values(resolution, ones, side)) for side in kernels}
    terms: list[tuple[ByteFactors, int]] = []
    for at, buffer in enumerate(full.buffers):
        factors, constant = _read(probes, buffer)
        padded = probes.padded_for(buffer.path)
        constants = {side: _read(probes, by_kernel[side].buffers[at])[1] for side in kernels} if padded else {}
        if len({constant, *constants.values()}) > 1:
            terms.append(((*factors, PerKernel(padded[0], tuple(constants.items()))), 1))
        else:
            terms.append((factors, constant))
    return terms


def _restore_elsewhere(probes: Probes, ones: frozenset[str], resolution: int, terms: list[Any]) -> None:
    """Give buffers that outlive their place the factors that are 1 here: elsewhere in a subnet they may not be 1.

    A cache holds the keys of a layer that has several groups while another layer, with a single one, runs.

    Raises:
        CostError: what outlives a place depends on whether a size there is 1 in more than that factor.
    """
    general = _outliving(probes, probes.trace(probes.coded_values(resolution)))
    usual = _terms(probes, frozenset(), resolution)
    for path, found in _outliving(probes, probes.trace(probes.coded_values(resolution, ones))).items():
        others = [usual[at] for at in general.get(path, ())]
        reduced = [(tuple(one for one in factors if one not in ones), count) for factors, count in others]
        if reduced != [terms[at] for at in found]:
            raise CostError(f"peak memory: what {path!r} leaves behind is another tensor where a size there is 1")
        for at, term in zip(found, others, strict=True):
            terms[at] = term


def _outliving(probes: Probes, trace: CostTrace) -> dict[str, list[int]]:
    """Module path → the buffers made there that are alive where its single units don't matter."""
    found: dict[str, set[int]] = {}
    for operation in trace.operations:
        here = set(probes.single_of(operation.path))
        for at in operation.live:
            path = trace.buffers[at].path
            if not here.issuperset(probes.single_of(path)):
                found.setdefault(path, set()).add(at)
    return {path: sorted(places) for path, places in found.items()}


def _read(probes: Probes, buffer: Buffer) -> tuple[ByteFactors, int]:
    found = probes.coded.read(buffer.nbytes)
    if found is None:
        raise CostError(f"peak memory: the bytes of a tensor made in {buffer.path!r} are no product of its sizes")
    return found


def _check(probes: Probes, ones: frozenset[str], resolution: int, terms: Sequence[tuple[ByteFactors, int]]) -> None:
    """Check the formula against the smallest subnet: the same operators, and the same bytes."""
    if resolution < len(probes.resolutions) - 1:
        return
    sizes = probes.smallest_values(resolution, ones)
    buffers = probes.trace(sizes).buffers
    if len(buffers) != len(terms):
        raise CostError("peak memory: other sizes make the forward pass run other operators; no formula holds for all")
    for buffer, (factors, constant) in zip(buffers, terms, strict=True):
        expected = int(math.prod(_evaluated(factors, sizes), start=constant))
        if buffer.nbytes != expected:
            raise CostError(
                f"peak memory: a tensor made in {buffer.path!r} has {buffer.nbytes} bytes in the smallest subnet, but "
                f"the product of its sizes gives {expected}"
            )


def _largest(found: Iterable[Iterable[_PeakCandidate]]) -> list[_PeakCandidate]:
    """The candidates that can be the peak for some subnet: within each place first, then all together."""
    places: dict[tuple[Condition, ...], list[_PeakCandidate]] = {}
    for candidate in itertools.chain.from_iterable(found):
        place = places.setdefault(candidate.conditions, [])
        if not any(other.covers(candidate) for other in place):
            place[:] = [*(other for other in place if not candidate.covers(other)), candidate]
    left = [candidate for place in places.values() for candidate in place]
    return [one for one in left if not any(other is not one and other.covers(one) for other in left)]
