"""Optimiser steps: each over one batch or several, from the choice of subnets to the update and the log."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from elastic.support.inputs import Inputs, batch_size
from trainers.methods.optimizers import OptimizerOptions
from trainers.methods.plan import TrainingPlan
from trainers.methods.teacher_outputs import BatchTeacher, TeacherOutputs
from trainers.steps.diagnosis import RUNGS, GradientCosines, Ladder
from trainers.steps.gradients import average_over_ranks, clip, fill_missing
from trainers.steps.phase_start import PhaseStart
from trainers.steps.position import Progress
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients


class StepRunner:
    """Runs the optimiser steps of a training.

    Attributes:
        current: the step that further batches belong to; None between two steps.
    """

    def __init__(
        self,
        module: LightningModule,
        plan: TrainingPlan,
        progress: Progress,
        gradients: SubnetGradients,
        phases: PhaseStart,
        optimizer: OptimizerOptions,
        teaching: nn.Module | None = None,
        average: AveragedModel | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            module: has trainer, optimiser and log, and a buffer `updates`, int64 `(RUNGS,)`.
            plan: what each phase trains.
            progress: where the training stands.
            gradients: of a step's subnets.
            phases: begins each phase.
            optimizer: how gradients are clipped.
            teaching: the teacher, where it is a separate network.
            average: the averaged weights, where they are averaged.
        """
        self.module = module
        self.plan = plan
        self.progress = progress
        self.gradients = gradients
        self.phases = phases
        self.optimizer = optimizer
        self.teaching = teaching
        self.average = average
        self.current: OptimizerStep | None = None
        self._ladder = Ladder(plan.supernet)

    def batch(self, inputs: Inputs, labels: Tensor, index: int) -> None:
        """Train one batch: a whole step, or its part of one.

        Args:
            inputs: images `(N, C, H, W)`, or what a tokenizer gives.
            labels: as for `StepBatch`.
            index: the batch's number within the epoch.

        Raises:
            TrainingError: a loss isn't finite; nothing is updated then.
        """
        options, trainer = self.gradients.options, self.module.trainer
        if options.channels_last and isinstance(inputs, Tensor):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        number = index % options.accumulate
        batches = min(options.accumulate, int(trainer.num_training_batches) - (index - number))
        if number == 0 or self.current is None:
            self.current = self._begin(inputs, labels)
        step, phase = self.current, self.progress.phase
        largest, loss = self.plan.spaces[phase].largest, self.plan.losses[phase]
        teacher = self._teacher(phase, inputs)
        losses = self.gradients.accumulate(step, inputs, labels, largest, loss, teacher, 1 / batches, number)
        step.losses = losses if step.losses is None else step.losses + losses
        if number == batches - 1:
            self._end(step, batch_size(inputs) * batches * trainer.world_size, batches)
            self.current = None

    def _begin(self, inputs: Inputs, labels: Tensor) -> OptimizerStep:
        """Zero gradients and choose the subnets; before a phase's first step, begin the phase."""
        (phase, place), number = self.progress.place, self.module.global_step
        optimizer = plain_optimizer(self.module)
        if place == 0:
            self.phases.enter(phase, optimizer)
        optimizer.zero_grad(set_to_none=False)
        step = OptimizerStep(number, self.progress.epoch, (self.plan.seed, self.module.global_rank))
        step.archs = [self.gradients.choose(drawn, inputs, labels) for drawn in self.plan.draw(phase, number)]
        every = self.gradients.options.cosines_every
        step.cosines = GradientCosines() if every is not None and number % every == 0 else None
        return step

    def _teacher(self, phase: int, inputs: Inputs) -> TeacherOutputs | Literal["in place"] | None:
        if not self.plan.has_teacher(phase):
            return None
        if self.teaching is None:
            return "in place"
        return BatchTeacher(self.teaching, inputs, self.plan.stacks[phase], self.plan.teaches_as_wide(phase))

    def _end(self, step: OptimizerStep, images: int, batches: int) -> None:
        """Reduce, project, clip, update."""
        optimizer = plain_optimizer(self.module)
        rate = self.plan.curriculum.rate(step.number, self.progress.steps_per_epoch, images)
        for group in optimizer.param_groups:
            group["lr"] = rate
        scaler = loss_scaler(self.module.trainer)
        parameters = [parameter for parameter in self.plan.supernet.parameters() if parameter.requires_grad]
        fill_missing(parameters)
        average_over_ranks([*(p.grad for p in parameters if p.grad is not None), *step.largest])
        if scaler is not None:  # after the average: all ranks must see the same overflow
            scaler.unscale_(optimizer)
        if step.largest:
            self._project(step, parameters)
        clip(parameters, self.optimizer.clip_value, self.optimizer.clip_norm)
        counting = self.module.optimizers()  # Lightning's wrapper: it counts the steps
        assert isinstance(counting, LightningOptimizer)
        counting.step()
        if self.average is not None:
            self.average.update_parameters(self.plan.supernet)
        self._log(step, rate, batches)

    def _project(self, step: OptimizerStep, parameters: list[nn.Parameter]) -> None:
        """Bring the largest subnet's gradients and the others' together."""
        projection = self.gradients.options.projection
        assert projection is not None
        if step.number >= projection.after * self.plan.curriculum.epochs * self.progress.steps_per_epoch:
            projection.combine(parameters, step.largest)
        else:
            for parameter, own in zip(parameters, step.largest, strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(own)

    def _log(self, step: OptimizerStep, rate: float, batches: int) -> None:
        assert step.losses is not None
        log, updates = self.module.log, self.module.get_buffer("updates")
        log("train/loss", step.losses.mean() / batches, prog_bar=True)
        log("train/loss_first", step.losses[0] / batches)
        log("train/learning_rate", rate)
        rungs = self._ladder.rungs(step.archs)
        updates += torch.bincount(torch.tensor(rungs), minlength=RUNGS).to(updates.device)
        every: int = self.module.trainer.log_every_n_steps  # type: ignore[attr-defined] # set when it's made
        if self.module.global_step % every == 0:
            for rung, count in enumerate(updates.tolist()):
                log(f"train/updates/rung_{rung}", float(count))
        if step.cosines is not None:
            for rung, cosine in step.cosines.by_rung(rungs).items():
                log(f"train/cosine/rung_{rung}", cosine)


def plain_optimizer(module: LightningModule) -> Optimizer:
    """The module's optimiser, without Lightning's wrapper."""
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, Optimizer)
    return optimizer


def loss_scaler(trainer: Trainer) -> Any:
    """The loss scaler of fp16 training; None where there is none."""
    return getattr(trainer.precision_plugin, "scaler", None)
