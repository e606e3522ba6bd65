"""Lessons: what a teacher says of one batch, asked at most once for each way in which it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from elastic import Arch, Supernet
from elastic.inputs import Inputs, predict
from trainers.hidden_states import recorded


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of one batch.

    Attributes:
        logits: detached, `(N, classes)`.
        states: detached; none where nobody asks for them.
    """

    logits: Tensor
    states: list[Tensor] = field(default_factory=list)


Lessons = Callable[[Arch], Lesson]
"""Gives each of a step's subnets its lesson."""


class Teaching:
    """The lessons of a teacher that is a network of its own, on one batch."""

    def __init__(self, teacher: nn.Module, inputs: Inputs, stack: str | None, as_wide: bool) -> None:
        """Nothing is computed before the first lesson.

        Args:
            teacher: the network; a supernet where it runs in several ways.
            inputs: the batch.
            stack: the path of its blocks, where their outputs are asked for.
            as_wide: let a supernet teach each subnet at that subnet's own widths, at full depth.
        """
        self.teacher = teacher
        self.inputs = inputs
        self.stack = stack
        self.as_wide = as_wide
        self._given: dict[Arch | None, Lesson] = {}

    def __call__(self, arch: Arch) -> Lesson:
        """The lesson for a subnet."""
        own: Arch | None = None
        if isinstance(self.teacher, Supernet):
            own = full_depth(self.teacher, arch) if self.as_wide else self.teacher.space.largest
        if own not in self._given:
            if isinstance(self.teacher, Supernet) and own is not None:
                with self.teacher.active(own):
                    self._given[own] = self._ask(self.teacher.model)
            else:
                self._given[own] = self._ask(self.teacher)
        return self._given[own]

    def _ask(self, model: nn.Module) -> Lesson:
        with torch.no_grad():
            if self.stack is None:
                return Lesson(predict(model, self.inputs))
            with recorded(model, self.stack) as states:
                return Lesson(predict(model, self.inputs), states)


def full_depth(supernet: Supernet, arch: Arch) -> Arch:
    """The subnet of full depth that is as wide as `arch`; the blocks that `arch` lacks are at full width."""
    depths = {gate.depth for gates in supernet.layout.gates.values() for gate in gates}
    return supernet.space.variant({dim: value for dim, value in arch.items() if dim not in depths})
