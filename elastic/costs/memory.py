"""Peak activation memory: the largest sum of tensors alive at once, as a formula in the sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elastic.costs.tracing import Trace
from elastic.errors import CostError
from elastic.space.dims import Gate
from elastic.space.sizes import Number
from elastic.space.space import Rows, SearchSpace
from elastic.space.tables import by_chunks

if TYPE_CHECKING:
    from elastic.costs.probing import Probes
    from elastic.layout.layout import Sizes


@dataclass(frozen=True)
class PerKernel:
    """A factor that is no product of sizes but depends on one kernel: the area of an input padded for it."""

    kernel: str
    factors: tuple[tuple[Number, int], ...]

    def __call__(self, sizes: Mapping[str, Any]) -> Any:
        """The factor where the kernel has this size: an int, or an array where it is one."""
        values = np.asarray(sizes[self.kernel])
        return sum(np.where(values == size, factor, 0) for size, factor in self.factors)


Tag = tuple[str | PerKernel, ...]
"""What is multiplied to give a tensor's bytes, up to a constant."""


@dataclass(frozen=True)
class Lone:
    """Whether a width is 1: an axis of one unit takes no copy to be moved, so that other operators run."""

    size: str
    one: bool

    def passes(self, value: Number) -> bool:
        """Whether it is as the moment needs it."""
        return (value == 1) == self.one


Condition = Gate | Lone
Part = tuple[Tag, tuple[Condition, ...]]
"""Bytes in proportion to a tag, there under conditions of their own: those of another block that made them."""


@dataclass(frozen=True)
class _Moment:
    """What is alive at one point of the forward pass, under what conditions: bytes per part."""

    conditions: tuple[Condition, ...]
    bytes_per: Mapping[Part, int]

    def covers(self, other: _Moment) -> bool:
        """Whether this moment happens whenever the other does, with at least as much alive."""
        return set(self.conditions) <= set(other.conditions) and all(
            self.bytes_per.get(part, 0) >= count for part, count in other.bytes_per.items()
        )


@dataclass(frozen=True)
class Traces:
    """What a formula is found from, at one resolution.

    Attributes:
        probes: values of all sizes, one set per trace: the largest first, then others that tell sizes apart.
        traces: the forward pass of each probe.
        shapes: for each kernel size, the largest subnet's forward pass with all kernels of that size.
        ones: the lone sizes that are 1 in all of them.
    """

    probes: Sequence[Mapping[str, Any]]
    traces: Sequence[Trace]
    shapes: Mapping[Number, Trace]
    ones: frozenset[str]


class PeakMemory:
    """Peak activation bytes by encoded arch."""

    def __init__(self, space: SearchSpace, sizes: Sizes, probes: Probes, probed: Sizes) -> None:
        """Find the formula.

        Args:
            space: whose archs are encoded.
            sizes: evaluates all sizes for values of the space's dims.
            probes: what is traced.
            probed: evaluates all sizes for the probes' values.

        Raises:
            CostError: a tensor whose bytes don't follow from the sizes.
        """
        self.space = space
        self.sizes = sizes
        self.moments = [
            _largest(_moments(_traced(probes, probed, ones, at), probes) for ones in probes.cases())
            for at in range(len(probes.resolutions))
        ]

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        """Peak bytes for each row, int64."""
        return by_chunks(self._chunk, rows)

    def _chunk(self, rows: Rows) -> NDArray[np.int64]:
        values = self.space.values(rows)
        names = [dim.name for dim in self.space.dims]
        at = rows[:, names.index("resolution")] if "resolution" in names else np.zeros(len(rows), np.int16)
        peak = np.zeros(len(rows))
        for resolution in np.unique(at):
            here = at == resolution
            inside = {name: value[here] for name, value in values.items()}
            peak[here] = _peak(self.moments[resolution], self.sizes(inside), int(here.sum()))
        return peak.astype(np.int64)


def _peak(moments: Sequence[_Moment], sizes: Mapping[str, Any], n: int) -> NDArray[Any]:
    products: dict[Part, Any] = {}
    passing: dict[Condition, Any] = {}

    def passes(conditions: Iterable[Condition]) -> Any:
        for condition in conditions:
            if condition not in passing:
                passing[condition] = _passing(condition, sizes)
        return math.prod((passing[condition] for condition in conditions), start=1)

    peak = np.zeros(n)
    for moment in moments:
        alive = np.zeros(n)  # float64 holds bytes exactly up to 2^53
        for part, count in moment.bytes_per.items():
            if part not in products:
                tag, conditions = part
                factors = [sizes[name] if isinstance(name, str) else name(sizes) for name in tag]
                product = np.prod([np.broadcast_to(factor, n) for factor in factors], axis=0, dtype=np.float64)
                products[part] = product * passes(conditions)
            alive += products[part] * count
        np.maximum(peak, alive * passes(moment.conditions), out=peak)
    return peak


def _passing(condition: Condition, sizes: Mapping[str, Any]) -> Any:
    """Where the condition holds: a bool, or an array of them."""
    values = np.asarray(sizes[condition.depth if isinstance(condition, Gate) else condition.size])
    table = {value: condition.passes(value) for value in np.unique(values)}
    return np.array([table[value] for value in values]) if values.ndim else table[values[()]]


def _traced(probes: Probes, probed: Sizes, ones: frozenset[str], resolution: int) -> Traces:
    chosen = [probes.values(kind, ones) for kind in ("largest", "smallest", "mixed")]
    shapes = {
        side: {**chosen[0], **{name: side for name, choices in probes.kernels.items() if side in choices}}
        for side in sorted({choice for choices in probes.kernels.values() for choice in choices})
    }
    return Traces(
        [probed(values) for values in chosen],
        [probes.trace(values, resolution) for values in chosen],
        {side: probes.trace(values, resolution) for side, values in shapes.items()},
        ones,
    )


def _moments(found: Traces, probes: Probes) -> Iterator[_Moment]:
    """What is alive while each operator runs, and when it does."""
    full, every = found.traces[0], (*found.traces, *found.shapes.values())
    if any(len(other.buffers) != len(full.buffers) for other in every):
        raise CostError("peak memory: other sizes make the forward pass run other operators; no formula holds for all")
    explained = [_explain(found, at, probes.kernels_of(buffer.path)) for at, buffer in enumerate(full.buffers)]
    gates = [() if made.passed_on else probes.layout.gates_of(made.path) for made in full.buffers]
    for step in full.steps:
        own = probes.layout.gates_of(step.path)
        alive: dict[Part, int] = {}
        for at in step.live:
            tag, count = explained[at]
            part = tag, tuple(gate for gate in gates[at] if gate not in own)
            alive[part] = alive.get(part, 0) + count
        lone = [Lone(name, name in found.ones) for name in probes.lone_of(step.path)]
        yield _Moment((*own, *lone), alive)


def _largest(found: Iterable[Iterable[_Moment]]) -> list[_Moment]:
    """The moments that can be the peak for some subnet: those of a place against each other, then all that are left."""
    places: dict[tuple[Condition, ...], list[_Moment]] = {}
    for moment in itertools.chain.from_iterable(found):
        place = places.setdefault(moment.conditions, [])
        if not any(other.covers(moment) for other in place):
            place[:] = [*(other for other in place if not moment.covers(other)), moment]
    left = [moment for place in places.values() for moment in place]
    return [one for one in left if not any(other is not one and other.covers(one) for other in left)]


def _explain(found: Traces, at: int, kernels: Sequence[str]) -> tuple[Tag, int]:
    """The first product of sizes that accounts for a buffer's bytes under every probe, and its constant."""
    versions = [trace.buffers[at].nbytes for trace in found.traces]
    tags = found.traces[0].buffers[at].tags
    for tag in tags:
        count = versions[0] // _product(found.probes[0], tag)
        if versions == [count * _product(probe, tag) for probe in found.probes]:
            return tag, count
    for tag in tags:  # a tensor padded for its kernel: a constant per kernel size
        for kernel in kernels:
            width = _product(found.probes[0], tag)
            table = PerKernel(kernel, tuple((k, t.buffers[at].nbytes // width) for k, t in found.shapes.items()))
            if versions == [table(probe) * _product(probe, tag) for probe in found.probes]:
                return (*tag, table), 1
    raise CostError(
        f"peak memory: a tensor made in {found.traces[0].buffers[at].path!r} has {versions} bytes in "
        f"{len(versions)} subnets, which none of {tags} explains"
    )


def _product(sizes: Mapping[str, Any], tag: Tag) -> int:
    return int(np.prod([sizes[name] for name in tag if isinstance(name, str)], dtype=np.int64))
