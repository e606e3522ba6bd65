"""Peak activation memory: the largest sum of tensors alive at once, as a formula in the sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elastic.chunks import by_chunks
from elastic.dims import Gate
from elastic.errors import CostError
from elastic.sizes import Number
from elastic.space import Rows, SearchSpace
from elastic.tracing import Trace

if TYPE_CHECKING:
    from elastic.costs import Sizes


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
class _Moment:
    """What is alive at one point of the forward pass: bytes per tag, while its block runs."""

    gates: tuple[Gate, ...]
    bytes_per: Mapping[Tag, int]

    def covers(self, other: _Moment) -> bool:
        """Whether this moment happens whenever the other does, with at least as much alive."""
        return set(self.gates) <= set(other.gates) and all(
            self.bytes_per.get(tag, 0) >= count for tag, count in other.bytes_per.items()
        )


@dataclass(frozen=True)
class Traces:
    """What a formula is found from, at one resolution.

    Attributes:
        probes: values of all sizes, one set per trace: the largest first, then others that tell sizes apart.
        traces: the forward pass of each probe.
        shapes: for each kernel size, the largest subnet's forward pass with all kernels of that size.
    """

    probes: Sequence[Mapping[str, Any]]
    traces: Sequence[Trace]
    shapes: Mapping[Number, Trace]


class PeakMemory:
    """Peak activation bytes by encoded arch."""

    def __init__(
        self,
        space: SearchSpace,
        sizes: Sizes,
        gates_of: Callable[[str], tuple[Gate, ...]],
        kernels_of: Callable[[str], tuple[str, ...]],
        traces: Sequence[Traces],
    ) -> None:
        """Explain traces, one entry per resolution, by the sizes that each probe had.

        Raises:
            CostError: a tensor whose bytes don't follow from the sizes.
        """
        self.space = space
        self.sizes = sizes
        self.moments = [_moments(at_one, gates_of, kernels_of) for at_one in traces]

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
            peak[here] = _peak(self.moments[resolution], inside, self.sizes(inside), int(here.sum()))
        return peak.astype(np.int64)


def _peak(moments: Sequence[_Moment], values: Mapping[str, Any], sizes: Mapping[str, Any], n: int) -> NDArray[Any]:
    products: dict[Tag, Any] = {}
    passing: dict[Gate, Any] = {}
    peak = np.zeros(n)
    for moment in moments:
        alive = np.zeros(n)  # float64 holds bytes exactly up to 2^53
        for tag, count in moment.bytes_per.items():
            if tag not in products:
                factors = [sizes[part] if isinstance(part, str) else part(sizes) for part in tag]
                products[tag] = np.prod([np.broadcast_to(factor, n) for factor in factors], axis=0, dtype=np.float64)
            alive += products[tag] * count
        for gate in moment.gates:
            if gate.depth in values:
                if gate not in passing:
                    table = {value: gate.passes(value) for value in np.unique(values[gate.depth])}
                    passing[gate] = np.array([table[value] for value in values[gate.depth]])
                alive = alive * passing[gate]
        np.maximum(peak, alive, out=peak)
    return peak


def _moments(
    found: Traces, gates_of: Callable[[str], tuple[Gate, ...]], kernels_of: Callable[[str], tuple[str, ...]]
) -> list[_Moment]:
    """The moments that can be the peak for some subnet."""
    full, every = found.traces[0], (*found.traces, *found.shapes.values())
    if any(len(other.buffers) != len(full.buffers) for other in every):
        raise CostError("peak memory: other sizes make the forward pass run other operators; no formula holds for all")
    explained = [_explain(found, at, kernels_of(buffer.path)) for at, buffer in enumerate(full.buffers)]
    moments: list[_Moment] = []
    for step in full.steps:
        alive: dict[Tag, int] = {}
        for buffer in step.live:
            tag, count = explained[buffer]
            alive[tag] = alive.get(tag, 0) + count
        moment = _Moment(gates_of(step.path), alive)
        if not any(other.covers(moment) for other in moments):
            moments = [other for other in moments if not moment.covers(other)] + [moment]
    return moments


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
