"""The gradients of a step's subnets on one batch, one backward pass each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, distributed, nn

from elastic import Arch, Supernet
from elastic.errors import TrainingError
from elastic.support.inputs import Inputs, predict
from trainers.methods.adversary import Adversary
from trainers.methods.distillers import label_loss
from trainers.methods.dropout import without_dropout
from trainers.methods.loss import StepBatch, SubnetLoss
from trainers.methods.samplers import Contest
from trainers.methods.teacher_outputs import TeacherOutput, TeacherOutputs
from trainers.steps.conflicts import gradients_apart
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.steps.sync_batchnorm import synced_batchnorm

_ADVERSARY = Adversary()


class SubnetGradients:
    """Adds the gradients of a step's subnets to the parameters'."""

    def __init__(
        self,
        supernet: Supernet,
        options: StepOptions,
        backward: Callable[[Tensor], None],
        adversary: Adversary = _ADVERSARY,
    ) -> None:
        """Nothing is computed yet.

        Args:
            supernet: what is trained.
            options: how.
            backward: runs the backward pass of a loss.
            adversary: attacks the images where a robust loss is trained.
        """
        self.supernet = supernet
        self.options = options
        self.backward = backward
        self.adversary = adversary

    def choose(self, drawn: Arch | Contest, inputs: Inputs, labels: Tensor) -> Arch:
        """The arch itself, or of a contest's candidates the one whose loss on the batches of all ranks wins.

        Candidates normalise by the batch, as in training; none of them moves the running statistics.
        """
        if isinstance(drawn, Arch):
            return drawn
        losses = []
        with torch.no_grad(), _buffers_kept(self.supernet), self._forward(largest=False):
            for arch in drawn.archs:
                with self.supernet.active(arch):
                    losses.append(label_loss(predict(self.supernet, inputs), labels).float())
        stacked = torch.stack(losses)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(stacked)
        best = stacked.argmin() if drawn.winner == "lowest" else stacked.argmax()
        return drawn.archs[int(best)]

    def accumulate(
        self,
        step: OptimizerStep,
        inputs: Inputs,
        labels: Tensor,
        largest: Arch,
        loss: SubnetLoss,
        teacher: TeacherOutputs | Literal["in place"] | None,
        share: float = 1.0,
        batch: int = 0,
    ) -> Tensor:
        """Add the gradients of the step's subnets on one batch.

        Args:
            step: its archs have been chosen.
            inputs: images `(N, C, H, W)`, or what a tokenizer gives.
            labels: as for `StepBatch`.
            largest: the phase's largest subnet.
            loss: gives each subnet's loss.
            teacher: gives the output that each subnet learns from; "in place": the largest subnet teaches those trained
                after it.
            share: of the step's gradient that this batch makes.
            batch: its number within the step.

        Returns:
            The losses, detached, `(len(archs),)`.

        Raises:
            TrainingError: a loss isn't finite.
        """
        parameters = [parameter for parameter in self.supernet.parameters() if parameter.requires_grad]
        seed = (*step.seed, step.number, batch)
        batch_losses = loss.on_batch(self.supernet, StepBatch(inputs, labels, self.adversary, step.epoch, seed))
        in_place: TeacherOutput | None = None
        observed = step.cosines if step.losses is None else None
        losses = []
        for k, arch in enumerate(step.archs):
            # active slices are leaf tensors here; their gradients lie in the parameters' (see `elastic.layers.aliases`)
            with self.supernet.active(arch):
                output = teacher(arch) if callable(teacher) else in_place
                with self._forward(largest=arch == largest):
                    value = batch_losses.loss(k, output)
                with self._apart(step, parameters) if arch == largest else nullcontext():
                    if observed is not None:
                        observed.begin(parameters)
                    self.backward(value * share if share != 1.0 else value)
                    if observed is not None:
                        observed.observe(parameters)
                if arch == largest and teacher == "in place":
                    with self._forward(largest=True):
                        in_place = batch_losses.output(arch)
            losses.append(value.detach())
        stacked = torch.stack(losses)
        finite = stacked.isfinite().tolist()  # the step's only wait for the device
        if not all(finite):
            _refuse(stacked, step, finite.index(False))
        return stacked

    def _apart(self, step: OptimizerStep, parameters: list[nn.Parameter]) -> AbstractContextManager[None]:
        """With a projection, keeps the largest subnet's gradients apart in `step.largest`."""
        if self.options.projection is None:
            return nullcontext()
        step.largest = step.largest or [torch.zeros_like(parameter) for parameter in parameters]
        return gradients_apart(parameters, step.largest)

    def _forward(self, largest: bool) -> ExitStack:
        stack = ExitStack()
        if self.options.dropout == "largest" and not largest:
            stack.enter_context(without_dropout(self.supernet.model))
        stack.enter_context(synced_batchnorm() if self.options.sync_batchnorm else nullcontext())
        return stack


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """After the block, the buffers have the values that they had."""
    former = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, values in former:
            buffer.copy_(values)


def _refuse(losses: Tensor, step: OptimizerStep, k: int) -> None:
    arch = step.archs[k]
    dims = list(arch.items())
    shown = ", ".join(f"{dim}={value}" for dim, value in dims[:4]) + (", …" if len(dims) > 4 else "")
    raise TrainingError(
        f"step {step.number}: the loss of subnet {arch.id} ({shown}; number {k + 1} of the step's "
        f"{len(step.archs)}) is {float(losses[k])}; nothing was updated or saved since the last checkpoint. "
        "Lower the learning rate, lengthen the warm-up, or clip gradients (--model.optimizer.clip_norm)"
    )
