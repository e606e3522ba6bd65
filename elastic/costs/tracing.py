"""One traced forward pass: what each operator costs and which tensors are alive while it runs.

Tensors have shapes but no data, so a pass takes milliseconds for any model, on any machine. Token ids, masks and
whatever else is computed without the model's weights do have data, for code that looks at it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from elastic.costs.counting import count_macs, unfused
from elastic.costs.dataless import Memo, of_kept_statistics, on_meta, run_operator, storage_of, tensors_among
from elastic.errors import CostError, first_line
from elastic.layout.layout import Layout
from elastic.layout.recipe import Recipe
from elastic.support.hooks import copy_placed, hooked
from elastic.support.inputs import Inputs, each, run_model, tensors_of


@dataclass
class Buffer:
    """A tensor's memory: its bytes, and the path of the module that made it.

    Attributes:
        nbytes: of its storage.
        path: the module that made it.
        blocks: paths of the blocks that ran then, outermost first.
        passed_on: the buffer is a block's output. If depth drops the block, the output of the block before is live
            instead; every other buffer of the block (a cache's keys and values) is then absent.
    """

    nbytes: int
    path: str
    blocks: tuple[str, ...] = ()
    passed_on: bool = False


@dataclass(frozen=True)
class Operation:
    """One operator.

    Attributes:
        path: the module that ran it; one that several blocks share has the first of its paths.
        macs: multiply-accumulates.
        live: the buffers alive while it ran.
        blocks: paths of the blocks that ran then, outermost first: depth may leave any of them out.
    """

    path: str
    macs: int
    live: tuple[int, ...]
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CostTrace:
    """All operators of one forward pass on one input, all buffers that they made, and those alive at its end."""

    operations: list[Operation]
    buffers: list[Buffer]
    end: tuple[int, ...] = ()

    def multiplying(self) -> list[Operation]:
        """The operators that have multiply-accumulates."""
        return [operation for operation in self.operations if operation.macs]


class Subject(NamedTuple):
    """The subject of a trace: a model that is elastic in place, the layout bound to it, and the recipe of both."""

    model: nn.Module
    layout: Layout
    recipe: Recipe

    def on_meta(self, integers: bool = False) -> Subject:
        """A copy in evaluation mode whose tensors have shapes but no data.

        Args:
            integers: whether buffers of integers keep their data, on the CPU.
        """

        def place(tensor: Tensor) -> Tensor:
            return (
                tensor.cpu().clone()
                if integers and not (tensor.is_floating_point() or tensor.is_meta)
                else tensor.to("meta")
            )

        memo: dict[int, Any] = {}
        model = copy_placed(self.model, place, memo)
        return Subject(model, copy.deepcopy(self.layout, memo), self.recipe)


NamedModules = Sequence[tuple[str, nn.Module]]
"""The modules of a model with their paths."""


def recurrent_layers(named: Iterable[tuple[str, nn.Module]]) -> list[str]:
    """The paths of PyTorch's recurrent layers."""
    return [path for path, module in named if isinstance(module, nn.RNNBase)]


def trace(
    model: nn.Module,
    named: NamedModules,
    blocks: Collection[str],
    inputs: Inputs,
    largest: Callable[[int], int],
) -> CostTrace:
    """Trace a forward pass on one input.

    Args:
        model: a plain model on the meta device; buffers of integers may have data, on the CPU.
        named: its modules, by the paths that are recorded.
        blocks: the paths of modules that depth may leave out.
        inputs: one, on the CPU: code may look at its values, though not at what the weights make of them.
        largest: gives the length that an axis of the model has in the largest subnet. Code that slices so much from it
            slices nothing off in any subnet, and nothing here, where axes may be longer.

    Raises:
        CostError: the model computes with the values of activations.
    """
    try:
        return _forward(model, named, blocks, inputs, largest)
    except (RuntimeError, NotImplementedError) as error:
        raise CostError(
            f"costs: {type(model).__name__} doesn't run on tensors without data; does its code depend on the values of "
            f"activations, as a detector's does? No formula can follow those; make a part elastic alone, such as its "
            f"backbone, and count that ({first_line(error)})"
        ) from error


def _forward(
    model: nn.Module,
    named: NamedModules,
    blocks: Collection[str],
    inputs: Inputs,
    largest: Callable[[int], int],
) -> CostTrace:
    recorder = _Recorder(model, named, blocks, largest)
    # in inference mode operators made of others are not seen as those
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        unfused(),
        recorder.watching_modules(),
        recorder,
    ):
        inputs = each(inputs, torch.clone)  # they may have been made in inference mode
        for tensor in tensors_of(inputs):
            recorder.adopt(tensor)
        out = run_model(model, inputs)
        end = recorder.live()
        del out
    return CostTrace(recorder.operations, recorder.buffers, end)


class _Recorder(TorchDispatchMode):
    """Sees every operator; a module's hooks tell it where it is."""

    def __init__(
        self, model: nn.Module, named: NamedModules, blocks: Collection[str], largest: Callable[[int], int]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.named = named
        self.blocks = blocks
        self.largest = largest
        self.operations: list[Operation] = []
        self.buffers: list[Buffer] = []
        self._stack: list[str] = [""]
        self._running: list[tuple[str, ...]] = [()]
        self._recurrent = recurrent_layers(named)
        self._memo = Memo()
        self._alive: dict[int, tuple[int, StorageWeakRef]] = {}
        self._weights = {storage_of(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_among((*args, *kwargs.values()))
        if func is torch.ops.aten.slice.Tensor and self._whole(*args):
            args = args[:2]
        out = run_operator(func, args, kwargs, tensors, self._stack[-1] in self._recurrent, self._memo)
        live_input = any(storage_of(tensor) in self._alive for tensor in tensors)
        if live_input:  # what is made of weights alone is no activation
            for tensor in tensors_among((out[0] if of_kept_statistics(func, args) else out,)):
                self.adopt(tensor)
        macs = count_macs(func, args, kwargs, out)
        self.operations.append(Operation(self._stack[-1], macs, self.live(), self._running[-1]))
        return out

    def _whole(self, tensor: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> bool:
        """Whether a slice is the whole axis in the largest subnet."""
        length = tensor.shape[dim]
        return not start and step == 1 and end is not None and 0 < end < length and end >= self.largest(length)

    def adopt(self, tensor: Tensor) -> None:
        """Start following a tensor's memory, unless it is followed already or is a weight's."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights and storage._cdata not in self._alive:
            # the weak reference keeps the address from being used again
            self._alive[storage._cdata] = len(self.buffers), StorageWeakRef(storage)
            self.buffers.append(Buffer(storage.nbytes(), self._stack[-1], self._running[-1]))

    def live(self) -> tuple[int, ...]:
        """The buffers that are alive now."""
        expired = torch.UntypedStorage._expired  # noqa: SLF001 - `StorageWeakRef.expired` takes three calls
        gone = [key for key, (_, storage) in self._alive.items() if expired(storage.cdata)]
        for key in gone:
            del self._alive[key]
        return tuple([at for at, _ in self._alive.values()])

    def watching_modules(self) -> AbstractContextManager[None]:
        """Keep track of the running module, and of what blocks put out."""
        return hooked(self.named, self._entering, self._leaving)

    def _entering(self, path: str) -> Any:
        def enter(module: nn.Module, args: Any) -> Any:
            self._stack.append(path)
            self._running.append((*self._running[-1], path) if path in self.blocks else self._running[-1])
            return on_meta(args) if path in self._recurrent else None

        return enter

    def _leaving(self, path: str, module: nn.Module) -> Any:
        is_block = path in self.blocks

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self._stack.pop()
            self._running.pop()
            for leaf in tree_leaves(out) if is_block else ():
                if isinstance(leaf, Tensor) and (found := self._alive.get(storage_of(leaf))):
                    self.buffers[found[0]].passed_on = True

        return leave
