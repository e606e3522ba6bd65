"""The Lightning module of every training method."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from elastic import Supernet
from elastic.errors import CheckpointError, TrainingError
from elastic.supernet.compiling import compiled
from elastic.supernet.evaluation import Batch
from elastic.supernet.folder import digest_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.weights import check_tensors
from elastic.upstream import library_of
from trainers.batchnorm_settings import describe_statistics, recalibration
from trainers.checkpoints import KEY, check_beside, check_description, describe, settle_progress
from trainers.data.batches import check_batch, check_classes
from trainers.data.randomness import random_states, restore_random_states
from trainers.methods.adversary import Adversary
from trainers.methods.curriculum import Curriculum, Phase
from trainers.methods.distillers import SoftTargets
from trainers.methods.loss import SubnetLoss
from trainers.methods.optimizers import OptimizerOptions, take_options
from trainers.methods.plan import TrainingPlan
from trainers.methods.samplers import Sampler, SandwichSampler
from trainers.methods.teachers import InPlaceTeacher, Teacher
from trainers.resuming import check_optimizers, check_resumable
from trainers.steps.averages import averaged, make_average
from trainers.steps.diagnosis import RUNGS
from trainers.steps.options import StepOptions
from trainers.steps.phase_start import PhaseStart
from trainers.steps.position import Progress
from trainers.steps.step_runner import StepRunner, loss_scaler, plain_optimizer
from trainers.steps.strategies import check_strategy
from trainers.steps.subnet_gradients import SubnetGradients
from trainers.validation import ValidationOptions, Validator

# defaults, all of them immutable
_CURRICULUM, _OPTIMIZER, _VALIDATION, _STEP = Curriculum(), OptimizerOptions(), ValidationOptions(), StepOptions()
_SAMPLER, _DISTILLER, _TEACHER = SandwichSampler(), SoftTargets(), InPlaceTeacher()
_ADVERSARY = Adversary()


class SupernetModule(LightningModule):
    """Trains a supernet: each step several subnets, one backward pass each, one optimiser step on the sum.

    Attributes:
        supernet: what is trained.
        plan: the search space, sampler and loss of each phase.
        progress: where in the curriculum the training stands.
        teaching: the teacher, where it is a separate network.
        average: the averaged weights, where they are averaged.
        steps: runs the optimiser steps.
        validator: validates the named subnets; it has the results.
        updates: how many subnets of each rung (see `trainers.steps.diagnosis`) have been trained: int64 `(RUNGS,)`.
    """

    updates: Tensor

    def __init__(
        self,
        supernet: SupernetSource,
        curriculum: Curriculum = _CURRICULUM,
        sampler: Sampler = _SAMPLER,
        distiller: SubnetLoss = _DISTILLER,
        teacher: Teacher = _TEACHER,
        adversary: Adversary = _ADVERSARY,
        optimizer: OptimizerOptions = _OPTIMIZER,
        step: StepOptions = _STEP,
        validation: ValidationOptions = _VALIDATION,
        seed: int = 0,
    ) -> None:
        """Build the supernet.

        Args:
            supernet: the model's name and what is elastic of it.
            curriculum: what is trained when, and at which learning rate.
            sampler: which subnets each step trains.
            distiller: their loss: a distiller, or a robust loss for training under attack.
            teacher: the network whose output the distiller gets.
            adversary: attacks the images where a robust loss is trained.
            optimizer: how gradients become updates.
            step: how a step is computed.
            validation: which subnets are validated, and how.
            seed: of the sampler and of the validated middles.

        Raises:
            RecipeError: no such model, or no recipe for it.
            ArchError: a phase or a named subnet that asks for choices that the supernet doesn't have.
            TrainingError: a teacher that the curriculum has no place for, or that would be untrained or never there.
        """
        super().__init__()
        self.automatic_optimization = False
        self.source = supernet
        self.supernet = supernet.build()
        self.curriculum = curriculum
        self.adversary = adversary
        self.optimizer_options = optimizer
        self.step_options = step
        self.plan = TrainingPlan(self.supernet, curriculum, sampler, distiller, teacher, seed)
        self.progress = Progress(self, curriculum, step.accumulate)
        self.validator = Validator(self, validation, seed)
        self.validator.named(self.plan.spaces[0], self.supernet.space)  # refused before anything is trained
        self.teaching = teacher.build(self.supernet)
        if self.teaching is None:
            self.plan.check_in_place()
        else:
            self.teaching.requires_grad_(False)
        self.average = make_average(self.supernet, step.average)
        self.register_buffer("updates", torch.zeros(RUNGS, dtype=torch.int64))
        gradients = SubnetGradients(self.supernet, step, self.manual_backward, adversary)
        calibration = validation.calibration_batches
        phases = PhaseStart(self, self.plan, adversary, self.teaching, self.average, calibration)
        self.steps = StepRunner(
            self, self.plan, self.progress, gradients, phases, optimizer, self.teaching, self.average
        )
        self._fitting = ExitStack()
        self._random_states: list[dict[str, Tensor]] = []
        self._optimizer_states: list[dict[str, Any]] | None = None  # of a checkpoint, until they are restored

    @property
    def trained(self) -> Supernet:
        """The supernet to validate and to ship: with averaged weights, where they are averaged."""
        return averaged(self.supernet, self.average)

    @property
    def classes(self) -> int:
        """The number of classes; 1 where the supernet predicts a number."""
        return library_of(self.supernet.model).classes

    @property
    def phase(self) -> Phase:
        """The phase that the next step belongs to."""
        return self.curriculum.scaled[self.progress.phase]

    @property
    def batchnorm(self) -> dict[str, Any]:
        """Settings of BatchNorm re-estimation for the trained subnets (see `trainers.batchnorm_settings`)."""
        return describe_statistics(self.plan.losses[self.progress.trained_phase].attacker(self.adversary))

    # --- training -------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """One optimiser; its learning rate is set at every step, as a pure function of the step."""
        return self.optimizer_options.build(self.supernet.model, self.curriculum.phases[0].learning_rate)

    def configure_callbacks(self) -> list[Callback]:
        """A callback that tidies up after a fit that raised."""
        return [_TeardownOnException()]

    def setup(self, stage: str) -> None:
        """Check the trainer's options before anything is wrapped or moved.

        Raises:
            TrainingError: a strategy that supernets can't be trained with.
        """
        check_strategy(self.trainer)

    def on_fit_start(self) -> None:
        """Train in place; without DDP's wrapper, which has given all ranks the same weights when it was made.

        Its reducer wants one backward pass a step; `average_over_ranks` reduces once after all of them.

        Raises:
            TrainingError: a projection of gradients that are scaled.
            CheckpointError: a checkpoint's optimizers are of other tensors.
        """
        if self._optimizer_states is not None:
            check_optimizers(self._optimizer_states, self.trainer.optimizers)
            self._optimizer_states = None
        if self.step_options.projection is not None and loss_scaler(self.trainer) is not None:
            raise TrainingError("gradients can't be projected while they are scaled; train with bf16-mixed instead")
        if self.step_options.channels_last:
            self.supernet.to(memory_format=torch.channels_last)
        compile = self.step_options.compile  # noqa: A001 - the option's name
        if compile:
            self._fitting.enter_context(compiled(self.supernet, compile if isinstance(compile, str) else "inductor"))
        else:
            self._fitting.enter_context(self.supernet.training_in_place())
        if isinstance(self.trainer.strategy.model, DistributedDataParallel):
            self.trainer.strategy.model = self

    def on_train_start(self) -> None:
        """The random numbers that were to be drawn next when the checkpoint was made, but this training's options.

        Raises:
            TrainingError: the data has no length.
            CheckpointError: the checkpoint's epochs have another.
        """
        _ = self.progress.steps_per_epoch  # refused before a batch is trained
        take_options(plain_optimizer(self), self.configure_optimizers())
        self._set_modes()
        restore_random_states(self._random_states, self.global_rank, self.device)
        self._random_states = []

    def on_train_epoch_start(self) -> None:
        """Training mode, whatever validation left."""
        self._set_modes()

    def _set_modes(self) -> None:
        self.supernet.train()
        if self.teaching is not None:
            self.teaching.eval()

    def teardown(self, stage: str) -> None:
        """The supernet is as it was before the fit; a step that was begun is forgotten, and what was continued."""
        self._fitting.close()
        self.steps.current = self.progress.former_steps = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One optimiser step on the summed gradients of the step's subnets; or one batch's part of it.

        Raises:
            TrainingError: a batch of a wrong shape, or a loss that isn't finite; nothing is updated then.
        """
        inputs, labels = batch
        self._check(inputs, labels)
        self.steps.batch(inputs, labels, batch_idx)

    def _check(self, inputs: Any, labels: Any) -> None:
        wanted = self.supernet.input_shape(self.supernet.space.largest)
        check_batch(inputs, labels, wanted, self.classes, self.source.model)
        if self.global_step == 0:  # once: it waits for the device
            check_classes(labels, self.classes, self.source.model)
            for loss in self.plan.losses:
                loss.check(inputs)

    # --- validation and test --------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Cut the named subnets out and re-estimate their BatchNorm statistics."""
        supernet, phase = self.trained, self.progress.trained_phase
        fitting = self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking
        space = self.plan.spaces[phase] if fitting else supernet.space
        self.validator.start(supernet, space, recalibration(self.plan.losses[phase].attacker(self.adversary)))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Every named subnet on one batch."""
        inputs, labels = batch
        self._check(inputs, labels)
        self.validator.update(inputs, labels, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log `val/<name>/<metric>` of each named subnet, and `val/<name>/robust` where it was attacked."""
        self.validator.finish("val")

    def on_test_start(self) -> None:
        """As for validation."""
        self.on_validation_start()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As for validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log `test/<name>/<metric>` of each named subnet."""
        self.validator.finish("test")

    # --- checkpoints ----------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the supernet is made from, in plain values: whoever reads the file can build it again."""
        checkpoint[KEY] = describe(self.source, self.supernet, self.phase.name)
        checkpoint[KEY]["random_states"] = random_states(self.device)
        checkpoint[KEY]["optimizer"] = self.optimizer_options.name
        checkpoint[KEY]["steps_per_epoch"] = self.progress.steps_per_epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another supernet's checkpoint, and note what to go on with.

        Raises:
            CheckpointError: the checkpoint's supernet isn't this one, or its teacher, average or optimiser is of
                another kind.
        """
        check_description(checkpoint, digest_supernet(self.supernet))
        check_beside(checkpoint, self.state_dict())
        check_tensors(self, checkpoint["state_dict"], "the checkpoint")
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            former = checkpoint[KEY].get("optimizer", self.optimizer_options.name)
            if former != self.optimizer_options.name:
                raise CheckpointError(
                    f"the checkpoint's optimizer is {former}, this training's {self.optimizer_options.name}; give "
                    f"--model.optimizer.name {former}, or begin a run of another --name"
                )
            check_resumable(checkpoint, self.trainer.fit_loop.state_dict())
            self._optimizer_states = checkpoint["optimizer_states"]
            self.progress.former_steps = checkpoint[KEY].get("steps_per_epoch")
        self._random_states = checkpoint[KEY].get("random_states", [])
        if "loops" in checkpoint:
            settle_progress(checkpoint)


class _TeardownOnException(Callback):
    """Lightning leaves the module's `teardown` out where a fit raises."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        pl_module.teardown(str(trainer.state.fn))
