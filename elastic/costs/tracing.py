"""One traced forward pass: what each operator costs and which tensors are alive while it runs.

The pass runs on tensors without data, so it takes milliseconds for any model, on any machine; but on those of the model
where its code asks for data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from elastic.errors import CostError
from elastic.layers.modules import Elastic
from elastic.layers.rules import NumberRule, TensorRule
from elastic.layout.layout import Layout
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Number
from elastic.support.hooks import copy_placed, hooked
from elastic.support.inputs import example_inputs
from elastic.upstream.transformers import has_transposed_weight

Tag = tuple[str, ...]
"""The sizes whose product, times a constant, is a tensor's number of bytes."""


@dataclass
class Buffer:
    """A tensor's memory: its bytes, the tags that may explain them, likeliest first, and the module that made it.

    Where a block has `passed_on` its output, another block's takes its place if the block is left out; what else
    outlives the block (a cache's keys and values) is then missing.
    """

    nbytes: int
    tags: tuple[Tag, ...]
    path: str
    passed_on: bool = False


@dataclass(frozen=True)
class Step:
    """One operator: the module that ran it, its multiply-accumulates, and the buffers alive while it ran."""

    path: str
    macs: int
    live: tuple[int, ...]


@dataclass
class Trace:
    """All operators of one forward pass on one input, and all buffers that they made."""

    steps: list[Step]
    buffers: list[Buffer]

    def macs_by_module(self) -> dict[str, list[int]]:
        """Multiply-accumulates of each module's own operators, one by one (its children's left out)."""
        found: dict[str, list[int]] = {}
        for step in self.steps:
            if step.macs:
                found.setdefault(step.path, []).append(step.macs)
        return found


class Subject(NamedTuple):
    """What is traced: a model that is elastic in place, the layout bound to it, and the recipe of both."""

    model: nn.Module
    layout: Layout
    recipe: Recipe

    def copy(self, place: Callable[[Tensor], Tensor]) -> Subject:
        """A copy in evaluation mode, its tensors made by `place` (see `copy_placed`)."""
        memo: dict[int, Any] = {}
        model = copy_placed(self.model, place, memo)
        return Subject(model, copy.deepcopy(self.layout, memo), self.recipe)

    def on_meta(self) -> Subject:
        """A copy in evaluation mode whose tensors have shapes but no data."""
        return self.copy(lambda tensor: tensor.to("meta"))


def trace(subject: Subject, on_meta: Subject, values: Mapping[str, Number]) -> Trace:
    """Trace a forward pass, batch 1, with the dims set to `values`.

    Args:
        subject: its weights are looked at only where the model asks for data (transformers 4 reads its inputs).
        on_meta: its copy without data.
        values: of the copy's dims.

    Raises:
        CostError: the recipe doesn't say the shape of an input.
    """
    if not subject.recipe.input_shape(values):
        raise CostError("costs are counted on one input, and the recipe doesn't say its shape: Recipe(input_size=...)")
    try:
        return _traced(on_meta, values, torch.device("meta"))
    except RuntimeError:  # no data, or a device that isn't one
        with_data = subject.copy(lambda tensor: tensor)
        with_data.layout.uncouple()
        return _traced(with_data, values, next(with_data.model.parameters()).device)


def _traced(subject: Subject, values: Mapping[str, Number], device: torch.device) -> Trace:
    subject.layout.set(values)
    recorder = _Recorder(subject.model, subject.layout.gates)
    # in inference mode operators made of others are not seen as those; the counter doesn't know fused attention
    with (
        torch.inference_mode(False), torch.no_grad(), sdpa_kernel(SDPBackend.MATH),
        recorder.watching_modules(), recorder,
    ):
        inputs = example_inputs(subject.recipe.input_shape(values), subject.recipe.vocabulary, device=device)
        recorder.adopt(inputs)
        subject.model(inputs)
    return Trace(recorder.steps, recorder.buffers)


_BATCH_NORMS = {torch.ops.aten.native_batch_norm, torch.ops.aten._native_batch_norm_legit_no_training}
"""On tensors without data these also give the batch's statistics, which inference doesn't make."""


def storage_of(tensor: Tensor) -> int:
    """The identity of a tensor's memory, which its views share."""
    return int(StorageWeakRef(tensor.untyped_storage()).cdata)


class _Recorder(TorchDispatchMode):
    """Sees every operator; a module's hooks tell it where it is."""

    def __init__(self, model: nn.Module, blocks: Collection[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.blocks = blocks
        self.steps: list[Step] = []
        self.buffers: list[Buffer] = []
        self._stack: list[str] = [""]
        self._storages: list[StorageWeakRef] = []
        self._index: dict[int, int] = {}
        self._weights = dict(_weight_tags(model))
        self._made = {path for path, module in model.named_modules() if _has_transform(module)}
        self._numbers = {path: _number_tag(module) for path, module in model.named_modules()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs = [storage_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        live_input = any(key in self._index for key in inputs)
        if live_input:  # what is made of weights alone is no activation
            tags = self._inherited(inputs)
            for tensor in tree_leaves(out[0] if func._overloadpacket in _BATCH_NORMS else out):
                if isinstance(tensor, Tensor):
                    self.adopt(tensor, tags)
        count = flop_registry.get(func._overloadpacket)
        runs = live_input or self._stack[-1] not in self._made  # extraction has done what makes these weights
        macs = count(*args, **kwargs, out_val=out) // 2 if count is not None and runs else 0
        live = tuple(at for at, storage in enumerate(self._storages) if not storage.expired())
        self.steps.append(Step(self._stack[-1], macs, live))
        return out

    def adopt(self, tensor: Tensor, tags: tuple[Tag, ...] = ((),)) -> None:
        """Start following a tensor's memory, unless it is followed already or is a weight's."""
        storage = StorageWeakRef(tensor.untyped_storage())
        if storage.cdata in self._weights or storage.cdata in self._index:
            return
        self._index[storage.cdata] = len(self.buffers)
        self._storages.append(storage)  # the weak reference keeps the address from being used again
        self.buffers.append(Buffer(tensor.untyped_storage().nbytes(), tags, self._stack[-1]))

    def _inherited(self, inputs: list[int]) -> tuple[Tag, ...]:
        """Tags of the inputs, also repeated as often as the running module's numbers say (keys for each query head).

        Nothing at all as the last resort (a sum over the whole axis), if not before.
        """
        tags: dict[Tag, None] = {}
        for key in inputs:
            if key in self._index:
                tags.update(dict.fromkeys(self.buffers[self._index[key]].tags))
            elif key in self._weights:
                tags[self._weights[key]] = None
        numbers = self._numbers.get(self._stack[-1], ())
        repeated = [(*tag, *(name for name in numbers if name not in tag)) for tag in tags if tag]
        return tuple(dict.fromkeys((*tags, *repeated, ())))

    def watching_modules(self) -> AbstractContextManager[None]:
        """Keep track of the running module, and tag what a layer with elastic weights puts out."""
        return hooked(self.model, self._entering, self._leaving)

    def _entering(self, path: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            self._stack.append(path)

        return enter

    def _leaving(self, path: str, module: nn.Module) -> Any:
        tag, is_block = _output_tag(module), path in self.blocks

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self._stack.pop()
            for leaf in tree_leaves(out) if is_block else ():
                if isinstance(leaf, Tensor) and (key := storage_of(leaf)) in self._index:
                    self.buffers[self._index[key]].passed_on = True
            if tag is not None and isinstance(out, Tensor):
                key = storage_of(out)
                if key in self._index:
                    made = self.buffers[self._index[key]]
                    made.tags = (tag, ()) if tag else ((), *made.tags)  # a fixed weight (qk-norm) leaves others' sizes

        return leave


def _has_transform(module: nn.Module) -> bool:
    rules = module._elastic.values() if isinstance(module, Elastic) else ()
    return any(isinstance(rule, TensorRule) and rule.transform is not None for rule in rules)


def _output_tag(module: nn.Module) -> Tag | None:
    """The sizes of a weight layer's output: those of its weight's first axis, in GPT-2's own layers its last."""
    if "weight" not in module._parameters or module._parameters["weight"] is None:
        return None
    rule = module._elastic.get("weight") if isinstance(module, Elastic) else None
    last = has_transposed_weight(module)
    return tuple(size.name for size in rule.axes.axes[-1 if last else 0].sizes) if isinstance(rule, TensorRule) else ()


def _number_tag(module: nn.Module) -> Tag:
    """The widths that a module's plain numbers restate; none for a layer, whose weight has them."""
    rules = module._elastic if isinstance(module, Elastic) else {}
    if "weight" in rules:
        return ()
    axes = (axis for rule in rules.values() if isinstance(rule, NumberRule) for axis in rule.axes)
    return tuple(dict.fromkeys(size.name for axis in axes for size in axis.sizes if size.is_width))


def _weight_tags(model: nn.Module) -> Iterator[tuple[int, Tag]]:
    """For each stored tensor: its memory's identity, and the sizes that a slice of it has."""
    for module in model.modules():
        rules = module._elastic if isinstance(module, Elastic) else {}
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                rule = rules.get(name)
                sizes = rule.axes.sizes if isinstance(rule, TensorRule) else []
                tag = tuple(size.name for size in sizes if size.is_width)
                yield storage_of(tensor), tag
