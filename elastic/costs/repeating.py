"""The trace of a model in which only two blocks of each run of alike ones are left, repeated for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from elastic.costs.alike import Names, Run, within
from elastic.costs.tracing import Buffer, CostTrace, Operation

Rename = Callable[[int, Names], int]
"""Bytes or multiply-accumulates of one block as they are in a block with these names."""


def shorten(model: nn.Module, runs: Sequence[Run]) -> None:
    """Remove the third and later blocks of each run from a plain model; numbered children are renumbered."""
    left_out = {id(model.get_submodule(path)) for run in runs for path in run.paths[2:]}
    containers = [model.get_submodule(path) for path in {run.paths[0].rpartition(".")[0] for run in runs}]
    for container in containers:
        kept = {name: child for name, child in container._modules.items() if id(child) not in left_out}
        if all(name.isdecimal() for name in kept):
            kept = {str(at): child for at, child in enumerate(kept.values())}
        container._modules = kept


def repeat(trace: CostTrace, run: Run, rename: Rename) -> CostTrace | None:
    """The trace with all blocks of a run, from one with its first two.

    Args:
        trace: of the model without the other blocks of the run.
        run: the blocks.
        rename: turns numbers of the second block into another one's.

    Returns:
        None if the first two blocks differ in what they run, or if their operators aren't all between them.
    """
    ran = [_span(trace.operations, path) for path in run.paths]
    made = [_span(trace.buffers, path) for path in run.paths]
    if any(len(one) for one in (*ran[2:], *made[2:])) or not _adjacent(*ran[:2]) or not _adjacent(*made[:2]):
        return None
    repetition = _Repetition(trace, run, rename, ran[1], made[0], made[1])
    return repetition.all() if repetition.fits(ran[0]) else None


def _span(items: Sequence[Operation | Buffer], path: str) -> range:
    """From the first item of a block to its last one."""
    found = [at for at, item in enumerate(items) if path in item.blocks]
    return range(found[0], found[-1] + 1) if found else range(0)


def _adjacent(one: range, other: range) -> bool:
    return bool(one) and len(one) == len(other) and one.stop == other.start


@dataclass(frozen=True)
class _Repetition:
    """Where the second block ran, and the buffers of the first two blocks."""

    trace: CostTrace
    run: Run
    rename: Rename
    ran: range
    first: range
    second: range

    @property
    def left(self) -> frozenset[int]:
        """The first block's buffers that outlive the second block: caches."""
        trace, end = self.trace, self.ran.stop
        after = trace.operations[end].live if end < len(trace.operations) else trace.end
        return frozenset(after).intersection(self.first)

    def fits(self, first_ran: range) -> bool:
        """Whether the first block is like the second one, and what else is alive stays alive while the second runs."""
        operations, buffers = self.trace.operations, self.trace.buffers
        for at, other in zip(first_ran, self.ran, strict=True):
            operation = self._operation(other, 0)
            own = tuple(one - len(self.first) for one in operations[other].live if one in self.second)
            if replace(operation, live=own) != replace(
                operations[at], live=tuple(one for one in operations[at].live if one in self.first)
            ):
                return False
        if any(self._buffer(other, 0) != buffers[at] for at, other in zip(self.first, self.second, strict=True)):
            return False
        outside = {frozenset(one for one in operations[at].live if one < self.first.start) for at in self.ran}
        return len(outside) == 1 and all(self.left.issubset(operations[at].live) for at in self.ran)

    def all(self) -> CostTrace:
        """The trace with all blocks."""
        trace, others = self.trace, range(2, len(self.run.paths))
        buffers = [self._buffer(at, block) for block in others for at in self.second]
        operations = [
            replace(self._operation(at, block), live=self._live(trace.operations[at].live, block - 1))
            for block in others
            for at in self.ran
        ]
        end, added = self.ran.stop, len(others)
        after = [replace(one, live=self._live(one.live, added)) for one in trace.operations[end:]]
        return CostTrace(
            [*trace.operations[:end], *operations, *after],
            [*trace.buffers[: self.second.stop], *buffers, *trace.buffers[self.second.stop :]],
            self._live(trace.end, added),
        )

    def _live(self, live: tuple[int, ...], added: int) -> tuple[int, ...]:
        """What is alive where so many blocks ran in between: what they left, too."""
        step = len(self.first)
        moved = [at if at < self.first.start else at + added * step for at in live]
        kept = [at + step * block for at in self.left.intersection(live) for block in range(added)]
        return tuple(sorted({*moved, *kept}))

    def _operation(self, at: int, block: int) -> Operation:
        """An operation of the second block, as it is in another one."""
        one = self.trace.operations[at]
        macs = self.rename(one.macs, self.run.names[block])
        return replace(one, macs=macs, path=self._place(one.path, block), blocks=self._places(one.blocks, block))

    def _buffer(self, at: int, block: int) -> Buffer:
        """A buffer of the second block, as it is in another one."""
        one = self.trace.buffers[at]
        nbytes = self.rename(one.nbytes, self.run.names[block])
        return replace(one, nbytes=nbytes, path=self._place(one.path, block), blocks=self._places(one.blocks, block))

    def _place(self, path: str, block: int) -> str:
        second = self.run.paths[1]
        return self.run.paths[block] + path.removeprefix(second) if within(path, second) else path

    def _places(self, paths: tuple[str, ...], block: int) -> tuple[str, ...]:
        return tuple([self._place(path, block) for path in paths])
