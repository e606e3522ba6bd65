"""One operator while it runs, and how a rule for it is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.discovery.atoms import Axes, Factors, fix, fresh, unify


class Labels(Protocol):
    """What is known of tensors."""

    def of(self, tensor: Tensor) -> Axes:
        """The axes of a tensor."""

    def is_live(self, tensor: Tensor) -> bool:
        """Whether it depends on the model's input: what doesn't is made of weights."""

    def source(self, tensor: Tensor) -> int:
        """The identity of what it was made of, element by element."""


@dataclass
class Call:
    """One operator while it runs.

    Attributes:
        name: such as `addmm`.
        args: its arguments, defaults filled in.
        out: what it gave.
        labels: of all tensors.
        module: whose code runs it.
        why: the words for what can't change because of it.
    """

    name: str
    args: list[Any]
    out: Any
    labels: Labels
    module: nn.Module
    why: str

    def axes(self, at: int) -> Axes:
        """Of the tensor among the arguments."""
        return self.labels.of(self.args[at])

    def unify(self, one: Iterable[Any], other: Iterable[Any]) -> None:
        """Two axes are the same."""
        unify(one, other, self.why)

    def fixed(self, length: int) -> Factors:
        """An axis that can't change."""
        return fresh(length, self.why)


Rule = Callable[[Call], "list[Axes]"]
"""Gives the axes of each tensor that the operator gives."""

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of these operators."""

    def keep(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return keep


def unknown(call: Call, inputs: Sequence[Tensor]) -> list[Axes]:
    """All that goes in can't change, nor what comes out."""
    for tensor in inputs:
        for axis in call.labels.of(tensor):
            fix(axis, call.why)
    return outputs(call.out, call.why)


def outputs(out: Any, why: str) -> list[Axes]:
    """Unchangeable axes for all tensors given."""
    tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return [tuple(fresh(length, why) for length in tensor.shape) for tensor in tensors]


def broadcast(call: Call, added: Axes, out: Axes) -> None:
    """What is added has the output's axes, from the last one."""
    for one, other in zip(reversed(added), reversed(out), strict=False):
        if one:
            call.unify(one, other)


def dims_of(call: Call, at: int) -> list[int]:
    """The dims among the arguments: none, one or several."""
    given = call.args[at] if at < len(call.args) else None  # `x.any()` has none
    if given is None or isinstance(given, (bool, float)):
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
