"""One traced forward pass: what each operator costs and which tensors are alive while it runs.

Tensors have shapes but no data, so a pass takes milliseconds for any model, on any machine. Token ids, masks and
whatever else is computed without the model's weights do have data, for code that looks at it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from elastic.costs.counting import count_macs, grouped_product, unfused
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
    """All operators of one forward pass on one input, and all buffers that they made."""

    operations: list[Operation]
    buffers: list[Buffer]

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


def recurrent_layers(model: nn.Module) -> list[str]:
    """The paths of PyTorch's recurrent layers in a model."""
    return [path for path, module in model.named_modules() if isinstance(module, nn.RNNBase)]


def trace(
    model: nn.Module,
    blocks: Collection[str],
    inputs: Inputs,
    largest: Callable[[int], int] = int,
) -> CostTrace:
    """Trace a forward pass on one input.

    Args:
        model: a plain model on the meta device; buffers of integers may have data, on the CPU.
        blocks: the paths of modules that depth may leave out.
        inputs: one, on the CPU: code may look at its values, though not at what the weights make of them.
        largest: gives the length that an axis of the model has in the largest subnet. Code that slices so much from it
            slices nothing off in any subnet, and nothing here, where axes may be longer.

    Raises:
        CostError: the model computes with the values of activations.
    """
    try:
        return _forward(model, blocks, inputs, largest)
    except (RuntimeError, NotImplementedError) as error:
        raise CostError(
            f"costs: {type(model).__name__} doesn't run on tensors without data; does its code depend on the values of "
            f"activations? No formula can follow those ({first_line(error)})"
        ) from error


def _forward(
    model: nn.Module,
    blocks: Collection[str],
    inputs: Inputs,
    largest: Callable[[int], int],
) -> CostTrace:
    recorder = _Recorder(model, blocks, largest)
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
        run_model(model, inputs)
    return CostTrace(recorder.operations, recorder.buffers)


_BATCH_NORMS = {
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten._native_batch_norm_legit_no_training.default,
}
_ACTIVATIONS = ("elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "sigmoid", "silu")
_LIKE_INPUT = {
    *(getattr(torch.ops.aten, name).default for name in (*_ACTIVATIONS, "neg", "rsqrt", "_safe_softmax")),
    *(getattr(torch.ops.aten, name).Tensor for name in ("add", "mul")),
    torch.ops.aten.mul.Scalar,
    torch.ops.aten.pow.Tensor_Scalar,
}
_IN_PLACE = {
    *(getattr(torch.ops.aten, f"{name}_").default for name in _ACTIVATIONS),
    *(getattr(torch.ops.aten, name).Tensor for name in ("add_", "mul_")),
}


def _of_kept_statistics(func: Any, args: Any) -> bool:
    """Whether it is a BatchNorm with running statistics; instance norms compute statistics of their own."""
    return func in _BATCH_NORMS and not (func is torch.ops.aten.native_batch_norm.default and args[5])


def _shortcut(func: Any, args: Any, tensors: list[Tensor]) -> Any:
    """The result of a frequent operator, if it looks like an input; PyTorch finds that out in slow Python."""
    first = args[0]
    if _of_kept_statistics(func, args):
        return torch.empty_like(first), *[first.new_empty(0)] * 2
    if func in _IN_PLACE:
        return first
    if func in _LIKE_INPUT:
        like = max(tensors, key=Tensor.numel)
        if like is first or (like.is_contiguous() and first.is_contiguous()):
            return torch.empty_like(like) if all(_fits(like, other) for other in args) else None
    return None


def _fits(like: Tensor, other: Any) -> bool:
    """Whether an element-wise result of both has the shape and dtype of the first."""
    if not isinstance(other, Tensor):
        return isinstance(other, (int, float))
    lengths = zip(reversed(like.shape), reversed(other.shape), strict=False)
    return other.dtype == like.dtype and other.ndim <= like.ndim and all(b in (1, a) for a, b in lengths)


def _run(func: Any, args: Any, kwargs: Any, tensors: list[Tensor], recurrent: bool) -> Any:
    """The operator's result: with data if nothing it reads or makes is of the model's weights or made of them.

    Recurrent layers of PyTorch insist on states that are where the weights are.
    """
    if tensors and tensors[0] is args[0] and args[0].is_meta and args[0].is_floating_point():
        made = _shortcut(func, args, tensors)
        if made is not None:
            return made
    with_data = not recurrent and not any(tensor.is_meta for tensor in tensors)
    if with_data and str(kwargs.get("device")) == "meta":  # arange(n, device=x.device), mask.to(x.device)
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if len({tensor.is_meta for tensor in tensors}) > 1:
        if func._schema.name.endswith("_") and not args[0].is_meta:  # written into: a state that began as zeros
            return args[0]
        args, kwargs = _on_meta(args), _on_meta(kwargs)
    made = grouped_product(func, args)
    return func(*args, **kwargs) if made is None else made


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors in an operator's arguments or results (several times as fast as PyTorch's `tree_leaves`)."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _tensors(value)
    return found


def _on_meta(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.to("meta")
    if type(values) in (tuple, list):
        return type(values)(map(_on_meta, values))
    return {name: _on_meta(value) for name, value in values.items()} if isinstance(values, dict) else values


class _Recorder(TorchDispatchMode):
    """Sees every operator; a module's hooks tell it where it is."""

    def __init__(self, model: nn.Module, blocks: Collection[str], largest: Callable[[int], int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.blocks = blocks
        self.largest = largest
        self.operations: list[Operation] = []
        self.buffers: list[Buffer] = []
        self._stack: list[str] = [""]
        self._running: list[tuple[str, ...]] = [()]
        self._recurrent = recurrent_layers(model)
        self._alive: dict[int, tuple[int, StorageWeakRef]] = {}
        self._weights = {_storage_of(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = _tensors((*args, *kwargs.values()))
        if func is torch.ops.aten.slice.Tensor and self._whole(*args):
            args = args[:2]
        out = _run(func, args, kwargs, tensors, self._stack[-1] in self._recurrent)
        live_input = any(_storage_of(tensor) in self._alive for tensor in tensors)
        if live_input:  # what is made of weights alone is no activation
            for tensor in _tensors((out[0] if _of_kept_statistics(func, args) else out,)):
                self.adopt(tensor)
        macs = count_macs(func, args, kwargs, out)
        self.operations.append(Operation(self._stack[-1], macs, self._live(), self._running[-1]))
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

    def _live(self) -> tuple[int, ...]:
        """The buffers that are alive now."""
        expired = torch.UntypedStorage._expired  # noqa: SLF001 - `StorageWeakRef.expired` takes three calls
        gone = [key for key, (_, storage) in self._alive.items() if expired(storage.cdata)]
        for key in gone:
            del self._alive[key]
        return tuple([at for at, _ in self._alive.values()])

    def watching_modules(self) -> AbstractContextManager[None]:
        """Keep track of the running module, and of what blocks put out."""
        return hooked(self.model, self._entering, self._leaving)

    def _entering(self, path: str) -> Any:
        def enter(module: nn.Module, args: Any) -> Any:
            self._stack.append(path)
            self._running.append((*self._running[-1], path) if path in self.blocks else self._running[-1])
            return _on_meta(args) if path in self._recurrent else None

        return enter

    def _leaving(self, path: str, module: nn.Module) -> Any:
        is_block = path in self.blocks

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self._stack.pop()
            self._running.pop()
            for leaf in tree_leaves(out) if is_block else ():
                if isinstance(leaf, Tensor) and (found := self._alive.get(_storage_of(leaf))):
                    self.buffers[found[0]].passed_on = True

        return leave


def _storage_of(tensor: Tensor) -> int:
    """The identity of a tensor's memory, which its views share."""
    return int(tensor.untyped_storage()._cdata)
