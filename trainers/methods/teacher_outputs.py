"""Teacher outputs on one batch, computed at most once for each subnet that the teacher runs as."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from elastic import Arch, Supernet
from elastic.errors import TrainingError
from elastic.support.inputs import Inputs, predict

Answer = Callable[[Tensor], Tensor]
"""Logits `(N, classes)` of images `(N, C, H, W)`."""


def _unavailable(images: Tensor) -> Tensor:
    raise NotImplementedError("this teacher has an output for its own batch only")


@dataclass(frozen=True)
class TeacherOutput:
    """The output of a teacher on one batch.

    Attributes:
        logits: detached, `(N, classes)`.
        states: hidden states, detached; none where no loss compares them.
        answer: its logits for other images, such as attacked ones, differentiable in these.
    """

    logits: Tensor
    states: list[Tensor] = field(default_factory=list)
    answer: Answer = field(default=_unavailable)


TeacherOutputs = Callable[[Arch], TeacherOutput]
"""Maps each of a step's subnets to the output that it learns from."""


class BatchTeacher:
    """A teacher that is a separate network, on one batch."""

    def __init__(self, teacher: nn.Module, inputs: Inputs, stack: str | None, as_wide: bool) -> None:
        """Nothing is computed before the first call.

        Args:
            teacher: the network; a supernet where it runs in several ways.
            inputs: the batch.
            stack: the path of its blocks, where their outputs are compared.
            as_wide: let a supernet teach each subnet at that subnet's own widths, at full depth.
        """
        self.teacher = teacher
        self.inputs = inputs
        self.stack = stack
        self.as_wide = as_wide
        self._outputs: dict[Arch | None, TeacherOutput] = {}

    def __call__(self, arch: Arch) -> TeacherOutput:
        """The output that a subnet learns from."""
        own: Arch | None = None
        if isinstance(self.teacher, Supernet):
            own = full_depth(self.teacher, arch) if self.as_wide else self.teacher.space.largest
        if own not in self._outputs:
            with torch.no_grad(), self._recorded() as states:
                self._outputs[own] = TeacherOutput(self._predict(own, self.inputs), states, partial(self._predict, own))
        return self._outputs[own]

    def _predict(self, own: Arch | None, inputs: Inputs) -> Tensor:
        if not isinstance(self.teacher, Supernet) or own is None:
            return predict(self.teacher, inputs)
        with self.teacher.active(own):
            return predict(self.teacher.model, inputs)

    def _recorded(self) -> AbstractContextManager[list[Tensor]]:
        model = self.teacher.model if isinstance(self.teacher, Supernet) else self.teacher
        return nullcontext([]) if self.stack is None else recorded(model, self.stack)


def full_depth(supernet: Supernet, arch: Arch) -> Arch:
    """The subnet of full depth that is as wide as `arch`; the blocks that `arch` lacks are at full width."""
    depths = {gate.depth for gates in supernet.layout.gates.values() for gate in gates}
    return supernet.space.variant({dim: value for dim, value in arch.items() if dim not in depths})


@contextmanager
def recorded(model: nn.Module, stack: str) -> Iterator[list[Tensor]]:
    """Within the block, a forward pass of `model` fills the list: the first block's input, then each block's output.

    Raises:
        TrainingError: the model has no such stack.
    """
    try:
        blocks = [block for block in model.get_submodule(stack)._modules.values() if block is not None]
    except AttributeError as error:
        raise TrainingError(f"HiddenStates: the teacher {type(model).__name__} has no blocks at {stack!r}") from error
    states: list[Tensor] = []

    def record(block: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not states:
            states.append(inputs[0])
        states.append(output if isinstance(output, Tensor) else output[0])

    hooks = [block.register_forward_hook(record) for block in blocks]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()
