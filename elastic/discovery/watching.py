"""Watching one forward pass: what each operator, and each number in the model's code, implies for tensor axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from elastic.discovery.atoms import AtomAxes, Factors, fix, fresh, size_of
from elastic.discovery.numbers import Attribute, Equations, TrackedInt, tracked_attributes
from elastic.discovery.rules import RULES, Call
from elastic.discovery.rules.call import unknown
from elastic.discovery.rules.pointwise import ADDITIONS, KEEPS_MARKS, is_pointwise, pointwise
from elastic.discovery.shapes_in_code import ShapesInCode
from elastic.support.hooks import hooked
from elastic.support.inputs import Inputs, run_model, tensors_of
from elastic.support.tensors import outputs_of

OUTPUT = "an output of the model"
INPUT = "an input of the model"
INDICES = "a table of indices"
ADDED = "+"
"""Suffix of a module's path in a tensor's marks: something has been added to the module's input."""


@dataclass
class Observations:
    """The result of watching a forward pass.

    Attributes:
        tensors: (path, name) → axes, for each parameter and buffer that was used; a shared one under each of its names.
        equations: which attributes restate which axes.
        residual: paths of the modules that add to their input: the output has its shape and includes it.
        features: the axis that the last layer reads.
    """

    tensors: dict[tuple[str, str], AtomAxes] = field(default_factory=dict)
    equations: Equations = field(default_factory=Equations)
    residual: set[str] = field(default_factory=set)
    features: Factors = ()


def watch(model: nn.Module, inputs: Inputs, numbers: bool = True) -> Observations:
    """Run a model in evaluation mode on `inputs` and observe it. Both may be on the meta device.

    Args:
        model: a copy.
        inputs: a batch.
        numbers: whether the model's plain numbers remember their origin. Code that looks them up in a table doesn't
            find them then; without it, sizes that the code takes from such numbers can't change.

    Raises:
        Exception: any error of the model's code.
    """
    watcher = Watcher(model)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(watcher.watching_modules())
        if numbers:
            stack.enter_context(_tracked_numbers(model, watcher))
        stack.enter_context(ShapesInCode(watcher, watcher.observed.equations))
        stack.enter_context(watcher)
        for tensor in tensors_of(inputs):
            watcher.put(tensor, tuple(fresh(length, INPUT) for length in tensor.shape), live=True)
        out = run_model(model, inputs)
    given = outputs_of(out)
    if not given:
        raise TypeError(f"no tensor can be seen in the {type(out).__name__} that it returns")
    for tensor in given:
        for axis in watcher.of(tensor):
            fix(axis, OUTPUT)
    _note_parametrised(model, watcher.observed)
    _note_recurrent(model, watcher.observed)
    watcher.observed.equations.solve()
    return watcher.observed


@contextmanager
def _tracked_numbers(model: nn.Module, watcher: Watcher) -> Iterator[None]:
    """Within the block the model's plain numbers remember their origin."""
    numbers = [*tracked_attributes(model), *_restated(model, watcher)]
    for module, name, _, tracked in numbers:
        module.__dict__[name] = tracked
    try:
        yield
    finally:
        for module, name, value, _ in numbers:
            module.__dict__[name] = value


def _restated(model: nn.Module, watcher: Watcher) -> Iterator[tuple[nn.Module, str, int, TrackedInt]]:
    """Numbers of layers from other libraries that restate the axes of their weight."""
    for module in model.modules():
        if type(module).__module__.startswith("torch.") or not isinstance(module, _MATRICES):
            continue
        for name, axis in zip(_names(module), watcher.of(module.weight), strict=False):
            value = module.__dict__[name]
            if value > 1 and value == size_of(axis):
                yield module, name, value, TrackedInt(value, (axis,))


_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d)


def _names(module: nn.Module) -> tuple[str, str]:
    return ("out_features", "in_features") if isinstance(module, nn.Linear) else ("out_channels", "in_channels")


def _note_parametrised(model: nn.Module, observed: Observations) -> None:
    """Layers whose weight is computed of another tensor of its shape: their numbers restate that one's axes."""
    for path, module in model.named_modules():
        axes = observed.tensors.get((f"{path}.parametrizations.weight".lstrip("."), "original"))
        if axes is None or not isinstance(module, _MATRICES):
            continue
        for name, axis in zip(_names(module), axes, strict=False):
            if size_of(axis) == getattr(module, name):
                observed.equations.attributes.setdefault(Attribute(path, name), axis)


def _note_recurrent(model: nn.Module, observed: Observations) -> None:
    """Recurrent layers compare the width of what comes in with a number of theirs."""
    for path, module in model.named_modules():
        axes = observed.tensors.get((path, "weight_ih_l0"))
        if axes is not None and isinstance(module, nn.RNNBase) and size_of(axes[1]) == module.input_size:
            observed.equations.attributes.setdefault(Attribute(path, "input_size"), axes[1])


class Watcher(TorchDispatchMode):
    """Observes every operator."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.observed = Observations()
        self.stack: list[tuple[str, nn.Module]] = [("", model)]
        self._places: dict[int, list[tuple[str, str]]] = {}
        for path, module in model.named_modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    self._places.setdefault(id(tensor), []).append((path, name))
        self._axes: dict[int, tuple[Tensor, AtomAxes]] = {}
        self._live: set[int] = set()
        self._marks: dict[int, frozenset[str]] = {}
        self._sources: dict[int, int] = {}

    # --- axes of tensors --------------------------------------------------------------------------------------

    def of(self, tensor: Tensor) -> AtomAxes:
        """The axes of a tensor; new ones for a weight that occurs for the first time."""
        known = self._axes.get(id(tensor))
        if known is not None:
            return known[1]
        places = self._places.get(id(tensor), [])
        why = "" if places else f"a tensor made in the code of {self.where}"
        if not tensor.is_floating_point():
            why = INDICES
        axes = tuple(fresh(length, why) for length in tensor.shape)
        self.put(tensor, axes)
        for place in places:
            self.observed.tensors[place] = axes
        return axes

    def is_live(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the model's input."""
        return id(tensor) in self._live

    def source(self, tensor: Tensor) -> int:
        """The id of the single live tensor that a tensor was computed from element by element; else its own id."""
        return self._sources.get(id(tensor), id(tensor))

    def put(self, tensor: Tensor, axes: AtomAxes, live: bool = False, marks: frozenset[str] = frozenset()) -> None:
        """Record the axes of a tensor."""
        self._axes[id(tensor)] = (tensor, axes)  # holding it keeps its id from being used again
        if live:
            self._live.add(id(tensor))
        if marks:
            self._marks[id(tensor)] = marks

    @property
    def where(self) -> str:
        """The running module, for messages."""
        path, module = self.stack[-1]
        return f"{type(module).__name__} ({path})" if path else type(module).__name__

    # --- operators --------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not inputs or not outputs:
            return out
        name = func._overloadpacket.__name__
        live = any(map(self.is_live, inputs))
        former = [self._marks.get(id(tensor), frozenset()) for tensor in inputs]
        marks: frozenset[str] = frozenset().union(*former) if is_pointwise(func) or name in KEEPS_MARKS else frozenset()
        if name in ADDITIONS and len(inputs) == 2 and inputs[0].shape == inputs[1].shape:
            marks = marks | {f"{path}{ADDED}" for path in marks}
        derived = self._derive(func, name, args, kwargs, out, inputs)
        sources = {self.source(tensor) for tensor in inputs if self.is_live(tensor)}
        for tensor, axes in zip(outputs, derived, strict=True):
            self.put(tensor, axes, live, marks)
            self._sources.pop(id(tensor), None)  # an operator in place has changed it
            if is_pointwise(func) and len(sources) == 1:
                self._sources[id(tensor)] = next(iter(sources))
        if live and func._overloadpacket in flop_registry:
            self.observed.features = self._summed(func, args)
        return out

    def _summed(self, func: Any, args: Any) -> Factors:
        """The axis that a matrix product or convolution sums over."""
        tensors = [self.of(leaf) for leaf in args if isinstance(leaf, Tensor)]
        return tensors[0][1] if func._overloadpacket is torch.ops.aten.convolution else tensors[-2][-1]

    def _derive(self, func: Any, name: str, args: Any, kwargs: Any, out: Any, inputs: list[Tensor]) -> list[AtomAxes]:
        module = self.stack[-1][1]
        call = Call(name, _filled(func, args, kwargs), out, self, module, f"{name} in {self.where}")
        if is_pointwise(func):
            return pointwise(call, [tensor for tensor in inputs if tensor.ndim])
        rule = RULES.get(name)
        if rule is None:
            return unknown(call, inputs)
        derived = rule(call)
        shapes = [tuple(leaf.shape) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if [tuple(map(size_of, axes)) for axes in derived] != shapes:  # a variant that the rule doesn't know
            return unknown(call, inputs)
        return derived

    # --- modules ----------------------------------------------------------------------------------------------

    def watching_modules(self) -> AbstractContextManager[None]:
        """Keep track of the running module, and of the modules that add to their input."""
        return hooked(self.model.named_modules(), self._entering, self._leaving)

    def _entering(self, path: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            self.stack.append((path, module))
            self._note_norm(path, module, args)
            for leaf in outputs_of(args):
                if self.is_live(leaf):
                    self._marks[id(leaf)] = self._marks.get(id(leaf), frozenset()) | {path}

        return enter

    def _note_norm(self, path: str, module: nn.Module, args: Any) -> None:
        """A norm without weights has its width as a number only."""
        bare = isinstance(module, nn.modules.batchnorm._NormBase) and module.weight is module.running_mean is None
        if bare and args and args[0].ndim > 1 and args[0].shape[1] == module.num_features:
            self.observed.equations.attributes.setdefault(Attribute(path, "num_features"), self.of(args[0])[1])

    def _leaving(self, path: str, module: nn.Module) -> Any:
        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self.stack.pop()
            shapes = [leaf.shape for leaf in outputs_of(args) if self.is_live(leaf)]
            outputs = outputs_of(out)
            # outputs of another shape, such as attention's weights, aren't the residual stream
            alike = [leaf.shape == shape for leaf, shape in zip(outputs, shapes, strict=False)]
            stream = [leaf for leaf, is_alike in zip(outputs, alike, strict=False) if is_alike]
            if alike[:1] == [True] and all(f"{path}{ADDED}" in self._marks.get(id(leaf), ()) for leaf in stream):
                self.observed.residual.add(path)

        return leave


def _filled(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """An operator's arguments in order, with defaults for those that were left out."""
    rest = func._schema.arguments[len(args) :]
    return [*args, *(kwargs.get(one.name, one.default_value) for one in rest)]
