"""Peak activation memory: the largest sum of tensors alive at once, as a formula in the sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import CostError
from elastic.space import Gate, Rows, SearchSpace
from elastic.tracing import Buffer, Tag, Trace

if TYPE_CHECKING:
    from elastic.costs import Sizes

_CHUNK = 16384


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


class PeakMemory:
    """Peak activation bytes by encoded arch."""

    def __init__(
        self,
        space: SearchSpace,
        sizes: Sizes,
        gates_of: Callable[[str], tuple[Gate, ...]],
        probes: Sequence[Mapping[str, Any]],
        traces: Sequence[Sequence[Trace]],
    ) -> None:
        """Explain traces, per resolution one per probe, by the sizes that each probe had.

        Raises:
            CostError: a tensor whose bytes don't follow from the sizes.
        """
        self.space = space
        self.sizes = sizes
        self.moments = [_moments(per_probe, probes, gates_of) for per_probe in traces]

    def __call__(self, rows: Rows) -> NDArray[np.int64]:
        """Peak bytes for each row, int64."""
        peak = np.zeros(len(rows), np.int64)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            peak[start : start + _CHUNK] = self._chunk(chunk)
        return peak

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
                products[tag] = np.prod([np.broadcast_to(sizes[name], n) for name in tag], axis=0, dtype=np.float64)
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
    traces: Sequence[Trace], probes: Sequence[Mapping[str, Any]], gates_of: Callable[[str], tuple[Gate, ...]]
) -> list[_Moment]:
    """The moments that can be the peak for some subnet."""
    full = traces[0]
    if any(len(other.buffers) != len(full.buffers) for other in traces):
        raise CostError("peak memory: other sizes make the forward pass run other operators; no formula holds for all")
    explained = [_explain(versions, probes) for versions in zip(*(t.buffers for t in traces), strict=True)]
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


def _explain(versions: Sequence[Buffer], probes: Sequence[Mapping[str, Any]]) -> tuple[Tag, int]:
    """The first tag that accounts for a buffer's bytes under every probe, and its constant."""
    for tag in versions[0].tags:
        products = [int(np.prod([probe[name] for name in tag], dtype=np.int64)) for probe in probes]
        count, rest = divmod(versions[0].nbytes, products[0])
        if not rest and all(b.nbytes == count * p for b, p in zip(versions, products, strict=True)):
            return tag, count
    raise CostError(
        f"peak memory: a tensor made in {versions[0].path!r} has {[b.nbytes for b in versions]} bytes in three "
        f"subnets, which none of {versions[0].tags} explains"
    )
