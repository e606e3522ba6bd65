"""One optimiser step's gradients: several subnets on one batch, one backward pass each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, distributed, nn

from elastic import Arch, Supernet
from elastic.errors import TrainingError
from elastic.support.inputs import Inputs, predict
from trainers.methods.distillers import Distiller, RobustLoss, label_loss
from trainers.methods.hidden_states import HiddenStates, stack_of_blocks
from trainers.methods.lessons import Lesson, Lessons, recorded
from trainers.methods.regularization import without_dropout
from trainers.methods.samplers import Contest
from trainers.robust.steps import AttackedTrial
from trainers.robust.training_attack import Adversary
from trainers.steps.conflicts import GradientProjection, take_gradients
from trainers.steps.diagnosis import GradientCosines
from trainers.steps.sync_batchnorm import synced_batchnorm

_ADVERSARY = Adversary()


@dataclass(frozen=True)
class StepOptions:
    """How a step is computed.

    Attributes:
        accumulate: batches per step; their gradients are averaged.
        dropout: whose dropout and drop-path are on: the largest subnet's only, or every subnet's. The smaller ones
            have no capacity to spare (BigNAS, arXiv:2003.11142).
        projection: take from the largest subnet's gradient what works against the others'; null: plain sum.
        average: decay per step of an exponential moving average of the weights, such as 0.999; validation and the
            saved supernet then have the averaged weights. null: none.
        channels_last: keep images and weights in channels-last order, which convolutions on GPUs in half precision
            are faster in.
        sync_batchnorm: normalise by the statistics of the whole batch over all processes.
        compile: run each kind of block as compiled code, one graph for all its widths; true, or a backend of
            `torch.compile` (true is inductor, which needs a C++ compiler on CPUs).
        cosines_every: log every so many steps how far each subnet's gradient agrees with the first one's (a
            sandwich's largest), on the step's first batch; null: never.
    """

    accumulate: int = 1
    dropout: Literal["largest", "all"] = "largest"
    projection: GradientProjection | None = None
    average: float | None = None
    channels_last: bool = False
    sync_batchnorm: bool = False
    compile: bool | str = False
    cosines_every: int | None = None

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise TrainingError(f"step.accumulate counts batches, 1 or more; got {self.accumulate}")
        if self.average is not None and not 0 < self.average < 1:
            raise TrainingError(f"step.average is a decay between 0 and 1 such as 0.999; got {self.average}")
        if self.compile and self.sync_batchnorm:
            raise TrainingError(
                "step.compile and step.sync_batchnorm exclude each other: compiled blocks can't wait for other ranks; "
                "choose one of them"
            )
        if self.cosines_every is not None and self.cosines_every < 1:
            raise TrainingError(f"step.cosines_every counts steps, 1 or more; got {self.cosines_every}")


@dataclass
class Step:
    """What the batches of one step share, and what they have added up so far.

    Attributes:
        number: the optimiser step.
        epoch: where in the training it is, counted from 0 with fractions.
        seed: of what it draws, other on each rank.
        archs: the subnets trained, in order; filled by the first batch.
        losses: of each subnet, summed over the batches: `(len(archs),)`.
        largest: with a projection, the largest subnet's gradients, apart from the others'.
        cosines: with `cosines_every`, of this step.
    """

    number: int
    epoch: float = 0.0
    seed: tuple[int, ...] = (0,)
    archs: list[Arch] = field(default_factory=list)
    losses: Tensor | None = None
    largest: list[Tensor] = field(default_factory=list)
    cosines: GradientCosines | None = None


class StepRunner:
    """Adds the gradients of a step's subnets to the parameters'."""

    def __init__(
        self,
        supernet: Supernet,
        distillers: Sequence[Distiller | RobustLoss],
        options: StepOptions,
        backward: Callable[[Tensor], None],
        adversary: Adversary = _ADVERSARY,
    ) -> None:
        """Nothing is computed yet.

        Args:
            supernet: what is trained.
            distillers: all that steps will use.
            options: how.
            backward: runs the backward pass of a loss.
            adversary: attacks the images where a robust loss is trained.

        Raises:
            TrainingError: a distiller that the supernet has no hidden states for.
        """
        self.supernet = supernet
        self.options = options
        self.backward = backward
        self.adversary = adversary
        recording = any(isinstance(distiller, HiddenStates) for distiller in distillers)
        self._stack = stack_of_blocks(supernet) if recording else None

    def stack(self, distiller: Distiller | RobustLoss) -> str | None:
        """The path of the blocks whose outputs a distiller asks for, if it does."""
        return self._stack if isinstance(distiller, HiddenStates) else None

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
        step: Step,
        inputs: Inputs,
        labels: Tensor,
        largest: Arch,
        distiller: Distiller | RobustLoss,
        teacher: Lessons | Literal["in place"] | None,
        share: float = 1.0,
        batch: int = 0,
    ) -> Tensor:
        """Add the gradients of the step's subnets on one batch.

        Args:
            step: its archs have been chosen.
            inputs: images `(N, C, H, W)`, or what a tokenizer gives.
            labels: as for `Distiller.loss`.
            largest: the phase's largest subnet.
            distiller: gives each subnet's loss.
            teacher: what it says of the batch to each subnet; "in place": the largest subnet teaches those trained
                after it.
            share: of the step's gradient that this batch makes.
            batch: its number within the step.

        Returns:
            The losses, detached, `(len(archs),)`.

        Raises:
            TrainingError: a loss isn't finite.
        """
        parameters = [parameter for parameter in self.supernet.parameters() if parameter.requires_grad]
        trial = self._trial(distiller, inputs, labels, step, batch)
        in_place: Lesson | None = None
        losses = []
        for k, arch in enumerate(step.archs):
            with self.supernet.active(arch):
                lesson = teacher(arch) if callable(teacher) else in_place
                with self._forward(largest=arch == largest):
                    loss = trial.loss(k, lesson)
                self.backward(loss * share if share != 1.0 else loss)
                if arch == largest and teacher == "in place":
                    with self._forward(largest=True):
                        in_place = trial.lesson(arch)
            losses.append(loss.detach())
            if step.cosines is not None and step.losses is None:
                step.cosines.observe(parameters)
            if self.options.projection is not None and arch == largest:
                step.largest = step.largest or [torch.zeros_like(parameter) for parameter in parameters]
                take_gradients(parameters, step.largest)
                if step.cosines is not None:
                    step.cosines.forget()
        stacked = torch.stack(losses)
        finite = stacked.isfinite().tolist()  # the step's only wait for the device
        if not all(finite):
            _refuse(stacked, step, finite.index(False))
        return stacked

    def _trial(
        self, distiller: Distiller | RobustLoss, inputs: Inputs, labels: Tensor, step: Step, batch: int
    ) -> Trial | AttackedTrial:
        if not isinstance(distiller, RobustLoss):
            return Trial(self.supernet, distiller, inputs, labels, self.stack(distiller))
        assert isinstance(inputs, Tensor)
        seed = (*step.seed, step.number, batch)
        return AttackedTrial(self.supernet, distiller, inputs, labels, self.adversary, step.epoch, seed)

    def _forward(self, largest: bool) -> ExitStack:
        stack = ExitStack()
        if self.options.dropout == "largest" and not largest:
            stack.enter_context(without_dropout(self.supernet.model))
        stack.enter_context(synced_batchnorm() if self.options.sync_batchnorm else nullcontext())
        return stack


class Trial:
    """The losses of a step's subnets on one batch."""

    def __init__(
        self, supernet: Supernet, distiller: Distiller, inputs: Inputs, labels: Tensor, stack: str | None
    ) -> None:
        self.supernet = supernet
        self.distiller = distiller
        self.inputs = inputs
        self.labels = labels
        self.stack = stack
        self._last = Lesson(torch.empty(0))

    def loss(self, k: int, lesson: Lesson | None) -> Tensor:
        """Of the active subnet, the step's k-th."""
        states: list[Tensor] = []
        with ExitStack() as recording:
            if self.stack is not None:
                states = recording.enter_context(recorded(self.supernet.model, self.stack))
            logits = predict(self.supernet, self.inputs)
        loss = self.distiller.loss(logits, self.labels, None if lesson is None else lesson.logits)
        if isinstance(self.distiller, HiddenStates) and lesson is not None:
            loss = loss + self.distiller.distance(states, lesson.states)
        self._last = Lesson(logits.detach(), [state.detach() for state in states])
        return loss

    def lesson(self, arch: Arch) -> Lesson:
        """What the active subnet, which has just been tried, teaches those tried after it."""
        return self._last


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """After the block, the buffers have the values that they had."""
    former = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, values in former:
            buffer.copy_(values)


def _refuse(losses: Tensor, step: Step, k: int) -> None:
    arch = step.archs[k]
    dims = list(arch.items())
    shown = ", ".join(f"{dim}={value}" for dim, value in dims[:4]) + (", …" if len(dims) > 4 else "")
    raise TrainingError(
        f"step {step.number}: the loss of subnet {arch.id} ({shown}; number {k + 1} of the step's "
        f"{len(step.archs)}) is {float(losses[k])}; nothing was updated or saved since the last checkpoint. "
        "Lower the learning rate, lengthen the warm-up, or clip gradients (--model.optimizer.clip_norm)"
    )
