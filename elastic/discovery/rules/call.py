"""One call of an operator, and the registry of operator rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.discovery.atoms import AtomAxes, Factors, fix, fresh, unify


class Labels(Protocol):
    """Facts about tensors: their axes, and whether they depend on the input."""

    def of(self, tensor: Tensor) -> AtomAxes:
        """The axes of a tensor."""

    def is_live(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the model's input; others are computed from weights alone."""

    def source(self, tensor: Tensor) -> int:
        """The id of the tensor that it was computed from element by element."""


@dataclass
class Call:
    """One call of an operator.

    Attributes:
        name: such as `addmm`.
        args: its arguments, with defaults filled in.
        out: its result.
        labels: what is known about all tensors.
        module: the module whose code runs it.
        why: the reason to give for axes that can't change because of it.
    """

    name: str
    args: list[Any]
    out: Any
    labels: Labels
    module: nn.Module
    why: str

    def axes(self, at: int) -> AtomAxes:
        """The axes of the argument at this position."""
        return self.labels.of(self.args[at])

    def unify(self, one: Iterable[Any], other: Iterable[Any]) -> None:
        """Record that two axes are equal."""
        unify(one, other, self.why)

    def fixed(self, length: int) -> Factors:
        """An axis that can't change."""
        return fresh(length, self.why)


OperatorRule = Callable[[Call], "list[AtomAxes]"]
"""Returns the axes of each output of the operator."""

RULES: dict[str, OperatorRule] = {}


def rule(*names: str) -> Callable[[OperatorRule], OperatorRule]:
    """Register the decorated function as the rule of these operators."""

    def register(function: OperatorRule) -> OperatorRule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def unknown(call: Call, inputs: Sequence[Tensor]) -> list[AtomAxes]:
    """Neither the inputs nor the outputs can change."""
    for tensor in inputs:
        for axis in call.labels.of(tensor):
            fix(axis, call.why)
    return outputs(call.out, call.why)


def outputs(out: Any, why: str) -> list[AtomAxes]:
    """Fixed axes for all output tensors."""
    tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return [tuple(fresh(length, why) for length in tensor.shape) for tensor in tensors]


def broadcast(call: Call, added: AtomAxes, out: AtomAxes) -> None:
    """Record that the axes of `added` equal the output's, aligned from the last one."""
    for one, other in zip(reversed(added), reversed(out), strict=False):
        if one:
            call.unify(one, other)


def dims_of(call: Call, at: int) -> list[int]:
    """The dimensions that the argument at this position names: none, one or several."""
    named = call.args[at] if at < len(call.args) else None  # `x.any()` has none
    if named is None or isinstance(named, (bool, float)):
        return []
    return list(named) if isinstance(named, (list, tuple)) else [named]
