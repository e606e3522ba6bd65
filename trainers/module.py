"""The Lightning module of every training method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import elastic
from elastic import Arch, SearchSpace, Supernet
from elastic.errors import CheckpointError, TrainingError
from elastic.space.space import Rows
from elastic.supernet.compiling import compiled
from elastic.supernet.evaluation import Recalibrate
from elastic.supernet.folder import digest_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.inputs import Inputs, batch_size, moved
from elastic.upstream import library_of
from trainers.checkpoints import KEY, check_beside, check_description, describe, settle_progress
from trainers.data.batches import Batch, check_batch, check_classes
from trainers.data.randomness import random_states, restore_random_states
from trainers.methods.curriculum import Curriculum, Phase
from trainers.methods.distillers import Distiller, NoDistiller, RobustLoss, SoftTargets, label_loss
from trainers.methods.lessons import Lessons, Teaching
from trainers.methods.optimizers import OptimizerOptions, take_options
from trainers.methods.samplers import Contest, Moment, Sampler, SandwichSampler
from trainers.methods.teachers import InPlaceTeacher, Teacher, check_snapshots
from trainers.robust.statistics import describe_statistics, recalibrate_attacked
from trainers.robust.training_attack import Adversary, check_pixels
from trainers.steps.diagnosis import RUNGS, GradientCosines, Ladder
from trainers.steps.gradients import average_over_ranks, clip, fill_missing
from trainers.steps.steps import Step, StepOptions, StepRunner
from trainers.steps.strategies import check_strategy
from trainers.validation import Candidate, Result, ValidationOptions, named_archs

# defaults, all of them immutable
_CURRICULUM, _OPTIMIZER, _VALIDATION, _STEP = Curriculum(), OptimizerOptions(), ValidationOptions(), StepOptions()
_SAMPLER, _DISTILLER, _TEACHER = SandwichSampler(), SoftTargets(), InPlaceTeacher()
_ADVERSARY = Adversary()

_ASKED = 3
"""Steps that a sampler is asked for beforehand."""


class SupernetModule(LightningModule):
    """Trains a supernet: each step several subnets, one backward pass each, one optimiser step on the sum.

    Attributes:
        supernet: what is trained.
        spaces: what each phase trains, in order.
        distillers: what each phase's subnets are pulled to, in order.
        results: what the last validation or test found, one entry per subnet.
        updates: how many subnets of each rung (see `trainers.steps.diagnosis`) have been trained: int64 `(RUNGS,)`.
    """

    updates: Tensor

    def __init__(
        self,
        supernet: SupernetSource,
        curriculum: Curriculum = _CURRICULUM,
        sampler: Sampler = _SAMPLER,
        distiller: Distiller | RobustLoss = _DISTILLER,
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
            distiller: what they are pulled to; or a robust loss, for training under attack.
            teacher: whose logits the distiller gets.
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
        self.sampler = sampler
        self.distiller = distiller
        self.teacher = teacher
        self.adversary = adversary
        self.options = optimizer
        self.step_options = step
        self.validation = validation
        self.seed = seed
        self.results: list[Result] = []
        self.step: Step | None = None
        self.spaces = [phase.narrow(self.supernet.space) for phase in curriculum.phases]
        named_archs(self.spaces[0], self.supernet.space, validation, seed)
        self._teaches_from = teacher.begins(curriculum)
        self._snapshots = teacher.snapshots(curriculum)
        check_snapshots(self._snapshots, curriculum, self.spaces, self.supernet.space)
        self.teaching = teacher.build(self.supernet)
        if self.teaching is not None:
            self.teaching.requires_grad_(False)
        average = get_ema_multi_avg_fn(step.average) if step.average is not None else None
        self.average = AveragedModel(self.supernet, multi_avg_fn=average) if average is not None else None
        self.distillers = [phase.distiller or distiller for phase in curriculum.phases]
        if self.teaching is None:
            self._check_in_place()
        self._runner = StepRunner(self.supernet, self.distillers, step, self.manual_backward, adversary)
        self.register_buffer("updates", torch.zeros(RUNGS, dtype=torch.int64))
        self._ladder = Ladder(self.supernet)
        self._candidates: list[Candidate] = []
        self._fitting = ExitStack()
        self._random_states: list[dict[str, Tensor]] = []
        self._former_steps: int | None = None

    def _check_in_place(self) -> None:
        """Refuse a distiller that learns from a teacher where steps don't train the largest subnet before another."""
        for index, (space, distiller) in enumerate(zip(self.spaces, self.distillers, strict=True)):
            if space.size == 1 or not getattr(distiller, "learns_from_teacher", False):  # a foreign one needn't say
                continue
            steps = (list(self.draw(index, step)) for step in range(_ASKED))
            if not all(space.largest in archs[:-1] for archs in steps):
                phase = self.curriculum.phases[index]
                raise TrainingError(
                    f"phase {phase.name!r}: {type(distiller).__name__} learns from the step's largest subnet, and "
                    f"{type(phase.sampler or self.sampler).__name__} doesn't train that in each step, before others; "
                    "take SandwichSampler, a teacher of its own (SnapshotTeacher, ModelTeacher), or NoDistiller"
                )

    @property
    def trained(self) -> Supernet:
        """The supernet to validate and to ship: with averaged weights, where they are averaged."""
        if self.average is None:
            return self.supernet
        averaged = self.average.module
        assert isinstance(averaged, Supernet)
        return averaged

    @property
    def classes(self) -> int:
        """How many classes the supernet tells apart; 1 where it predicts a number."""
        return library_of(self.supernet.model).classes

    @property
    def metric(self) -> str:
        """What validation and test measure."""
        data = getattr(self.trainer, "datamodule", None)
        return str(self.validation.metric or getattr(data, "metric", "accuracy"))

    @property
    def figures(self) -> list[str]:
        """What validation logs in the last phase."""
        named = named_archs(self.spaces[-1], self.supernet.space, self.validation, self.seed)
        kinds = [self.metric, *([] if self.validation.attack is None else ["robust"])]
        return [f"val/{name}/{kind}" for name in named for kind in kinds]

    # --- where in the curriculum ----------------------------------------------------------------------------

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch.

        Raises:
            TrainingError: the data has no length.
            CheckpointError: the checkpoint that is continued counted others.
        """
        batches = self.trainer.num_training_batches
        if batches == float("inf"):
            raise TrainingError(
                "the training data has no length; say how many batches an epoch has (--trainer.limit_train_batches)"
            )
        steps = max(-(-int(batches) // self.step_options.accumulate), 1)
        if self._former_steps not in (None, steps):
            raise CheckpointError(
                f"the checkpoint's epochs have {self._former_steps} steps, this training's {steps}: phases would be "
                "misplaced. Give the data, batch_size, step.accumulate, limit_train_batches and devices as when it was "
                "made (see config.yaml in the run's folder), or begin a run of another --name"
            )
        return steps

    @property
    def phase(self) -> Phase:
        """The phase that the next step belongs to."""
        return self.curriculum.scaled[self._place()[0]]

    @property
    def space(self) -> SearchSpace:
        """What the current phase trains."""
        return self.spaces[self._place()[0]]

    @property
    def trained_phase(self) -> Phase:
        """The phase that the last step belonged to."""
        return self.curriculum.scaled[self._trained_place()]

    @property
    def batchnorm(self) -> dict[str, Any]:
        """How BatchNorm statistics of the trained subnets are re-estimated (see `trainers.robust.statistics`)."""
        robust = isinstance(self.distillers[self._trained_place()], RobustLoss)
        return describe_statistics(self.adversary if robust else None)

    def _trained_place(self) -> int:
        if self.trainer.state.fn != TrainerFn.FITTING:
            return len(self.spaces) - 1
        return self.curriculum.at(max(self.global_step - 1, 0), self.steps_per_epoch)[0]

    def _place(self) -> tuple[int, int]:
        return self.curriculum.at(self.global_step, self.steps_per_epoch)

    def draw(self, phase: int, step: int) -> Iterator[Arch | Contest]:
        """What the sampler draws for an optimiser step of the phase with this index, in order."""
        space, sampler = self.spaces[phase], self.curriculum.phases[phase].sampler or self.sampler

        def macs(rows: Rows) -> NDArray[np.int64]:
            return self.supernet.macs(self.supernet.space.widened(rows, space))

        for k in range(sampler.subnets_per_step):
            yield sampler.sample(Moment(space, macs, self.seed, step), k)

    def step_archs(self) -> Iterator[Arch | Contest]:
        """What the sampler draws for the next step, in order."""
        return self.draw(self._place()[0], self.global_step)

    # --- training -------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """One optimiser; its learning rate is set at every step, as a pure function of the step."""
        return self.options.build(self.supernet.model, self.curriculum.phases[0].learning_rate)

    def configure_callbacks(self) -> list[Callback]:
        """What tidies up after a fit that raised."""
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
        """
        if self.step_options.projection is not None and _scaler(self.trainer) is not None:
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
        _ = self.steps_per_epoch  # refused before a batch is trained
        take_options(self._optimizer(), self.configure_optimizers())
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
        self.step = self._former_steps = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One optimiser step on the summed gradients of the step's subnets; or one batch's part of it.

        Raises:
            TrainingError: a batch of a wrong shape, or a loss that isn't finite; nothing is updated then.
        """
        inputs, labels = batch
        self._check(inputs, labels)
        if self.step_options.channels_last and isinstance(inputs, Tensor):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        first = batch_idx % self.step_options.accumulate == 0
        group = batch_idx - batch_idx % self.step_options.accumulate
        share = min(self.step_options.accumulate, int(self.trainer.num_training_batches) - group)
        if first or self.step is None:
            self.step = self._begin(inputs, labels)
        losses = self._runner.accumulate(
            self.step,
            inputs,
            labels,
            self.space.largest,
            self._distiller,
            self._lessons(inputs),
            1 / share,
            batch_idx - group,
        )
        self.step.losses = losses if self.step.losses is None else self.step.losses + losses
        if batch_idx == group + share - 1:
            self._end(self.step, batch_size(inputs) * share * self.trainer.world_size, share)
            self.step = None

    @property
    def _distiller(self) -> Distiller | RobustLoss:
        return self.distillers[self._place()[0]]

    def _begin(self, inputs: Inputs, labels: Tensor) -> Step:
        """Zero gradients, and the subnets; at a phase's first step, also what the phase begins with."""
        optimizer = self._optimizer()
        if self._place()[1] == 0:
            self._enter_phase(optimizer)
        optimizer.zero_grad(set_to_none=False)
        step = Step(self.global_step, self.global_step / self.steps_per_epoch, (self.seed, self.global_rank))
        step.archs = [self._runner.choose(drawn, inputs, labels) for drawn in self.step_archs()]
        every = self.step_options.cosines_every
        step.cosines = GradientCosines() if every is not None and self.global_step % every == 0 else None
        return step

    def _enter_phase(self, optimizer: Optimizer) -> None:
        """The teacher's snapshot, sorted units, and an optimiser that knows nothing of the former phase."""
        index, _ = self._place()
        if self.teaching is not None and index in self._snapshots:
            self._take_over(self.teaching)
        kind = self.curriculum.phases[index].sort
        if kind is not None:
            trained = self.spaces[index - 1] if index else None
            held_out = self._held_out() if kind == "taylor" else None
            self.supernet.sort(elastic.importance(self.supernet, kind, held_out, label_loss), within=trained)
        if index:
            optimizer.state.clear()
            if self.average is not None:
                self.average.n_averaged.zero_()  # sorted channels have other averages: begin anew

    def _take_over(self, teaching: nn.Module) -> None:
        """Make the teacher what the supernet is now."""
        if isinstance(teaching, Supernet):
            teaching.load_state_dict(self.trained.state_dict())
            return
        teaching.load_state_dict(self.trained.extract(self.supernet.space.largest).state_dict())
        recalibrate = self._recalibration(self._place()[0] - 1)
        recalibrate(teaching, self._calibration_batches())  # all subnets' statistics until now

    def _held_out(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Labelled batches that aren't trained on: the first of the validation data, the same on every rank.

        They are a held-out part of the training data where the data module's validation part is one.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "held_out_batches"):
            raise TrainingError(
                "sort: taylor scores units on labelled data that isn't trained on, and the data has no "
                "held_out_batches(); pass the trainer a datamodule such as trainers.Digits, or sort by l1"
            )
        for inputs, labels in data.held_out_batches():  # type: ignore[union-attr]
            yield moved(inputs, self.device), labels.to(self.device)

    def _lessons(self, inputs: Inputs) -> Lessons | Literal["in place"] | None:
        index, distiller = self._place()[0], self._distiller
        if index < self._teaches_from or isinstance(distiller, NoDistiller):
            return None
        if self.teaching is None:
            return "in place"
        before = [at - 1 for at in self._snapshots if at <= index]
        as_wide = bool(before) and self.teacher.is_as_wide(self.curriculum.phases[before[-1]].name)
        return Teaching(self.teaching, inputs, self._runner.stack(distiller), as_wide)

    def _end(self, step: Step, images: int, share: int) -> None:
        """Reduce, project, clip, update."""
        optimizer = self._optimizer()
        rate = self.curriculum.rate(step.number, self.steps_per_epoch, images)
        for group in optimizer.param_groups:
            group["lr"] = rate
        scaler = _scaler(self.trainer)
        parameters = [parameter for parameter in self.supernet.parameters() if parameter.requires_grad]
        fill_missing(parameters)
        average_over_ranks([*(p.grad for p in parameters if p.grad is not None), *step.largest])
        if scaler is not None:  # after the average: all ranks must see the same overflow
            scaler.unscale_(optimizer)
        if step.largest:
            self._project(step, parameters)
        clip(parameters, self.options.clip_value, self.options.clip_norm)
        counting = self.optimizers()  # Lightning's wrapper: it counts the steps
        assert isinstance(counting, LightningOptimizer)
        counting.step()
        if self.average is not None:
            self.average.update_parameters(self.supernet)
        self._log(step, rate, share)

    def _project(self, step: Step, parameters: list[nn.Parameter]) -> None:
        """Bring the largest subnet's gradients and the others' together."""
        projection = self.step_options.projection
        assert projection is not None
        if step.number >= projection.after * self.curriculum.epochs * self.steps_per_epoch:
            projection.combine(parameters, step.largest)
        else:
            for parameter, own in zip(parameters, step.largest, strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(own)

    def _optimizer(self) -> Optimizer:
        wrapped = self.optimizers(use_pl_optimizer=False)
        assert isinstance(wrapped, Optimizer)
        return wrapped

    def _log(self, step: Step, rate: float, share: int) -> None:
        assert step.losses is not None
        self.log("train/loss", step.losses.mean() / share, prog_bar=True)
        self.log("train/loss_first", step.losses[0] / share)
        self.log("train/learning_rate", rate)
        rungs = self._ladder.rungs(step.archs)
        self.updates += torch.bincount(torch.tensor(rungs), minlength=RUNGS).to(self.updates.device)
        if self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined] # set when it's made
            for rung, count in enumerate(self.updates.tolist()):
                self.log(f"train/updates/rung_{rung}", float(count))
        if step.cosines is not None:
            for rung, cosine in step.cosines.by_rung(rungs).items():
                self.log(f"train/cosine/rung_{rung}", cosine)

    def _check(self, inputs: Any, labels: Any) -> None:
        wanted = self.supernet.input_shape(self.supernet.space.largest)
        check_batch(inputs, labels, wanted, self.classes, self.source.model)
        if self.global_step == 0:  # once: it waits for the device
            check_classes(labels, self.classes, self.source.model)
            if any(isinstance(one, RobustLoss) for one in self.distillers):
                check_pixels(inputs)

    # --- validation and test --------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Cut the named subnets out and re-estimate their BatchNorm statistics."""
        supernet = self.trained
        space = supernet.space
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            space = self.spaces[self._trained_place()]
        named = named_archs(space, supernet.space, self.validation, self.seed)
        self._candidates = [Candidate(name, arch, supernet, self.metric, self.device) for name, arch in named.items()]
        recalibrate = self._recalibration(self._trained_place())
        for candidate in self._candidates:
            with self.trainer.precision_plugin.forward_context():
                candidate.recalibrate(self._calibration_batches(), recalibrate)

    def _recalibration(self, phase: int) -> Recalibrate:
        """How BatchNorm statistics are re-estimated after the phase with this index."""
        if not isinstance(self.distillers[phase], RobustLoss):
            return elastic.recalibrate
        return partial(recalibrate_attacked, adversary=self.adversary)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Every named subnet on one batch."""
        inputs, labels = batch
        self._check(inputs, labels)
        for candidate in self._candidates:
            candidate.update(inputs, labels)
        attack = self.validation.attack
        if attack is not None and batch_idx < self.validation.attacked_batches:
            check_pixels(inputs)
            assert isinstance(inputs, Tensor)
            for candidate in self._candidates:
                candidate.attack(inputs, labels, attack, (self.seed, batch_idx, self.global_rank))

    def on_validation_epoch_end(self) -> None:
        """Log `val/<name>/<metric>` of each named subnet, and `val/<name>/robust` where it was attacked."""
        self._finish("val")

    def on_test_start(self) -> None:
        """As for validation."""
        self.on_validation_start()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As for validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log `test/<name>/<metric>` of each named subnet."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        self.results = sorted((candidate.result() for candidate in self._candidates), key=lambda result: result.macs)
        self._candidates = []
        for result in self.results:
            self.log(f"{stage}/{result.name}/{result.metric}", result.score, sync_dist=True)  # the same on all ranks
            if result.robust is not None:
                self.log(f"{stage}/{result.name}/robust", result.robust, sync_dist=True)

    def _calibration_batches(self) -> Iterator[Tensor]:
        """Training inputs; they are asked for only where there is a BatchNorm to re-estimate."""
        data = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "calibration_batches"):
            raise TrainingError(
                "BatchNorm is re-estimated on training images, for validation and for a snapshot that teaches, and the "
                "data has no calibration_batches(); pass the trainer a datamodule such as trainers.Digits"
            )
        batches: Iterator[Tensor] = iter(data.calibration_batches())  # type: ignore[union-attr]
        for images in islice(batches, self.validation.calibration_batches):
            yield self.trainer.precision_plugin.convert_input(images.to(self.device))

    # --- checkpoints ----------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the supernet is made from, in plain values: whoever reads the file can build it again."""
        checkpoint[KEY] = describe(self.source, self.supernet, self.phase.name)
        checkpoint[KEY]["random_states"] = random_states(self.device)
        checkpoint[KEY]["optimizer"] = self.options.name
        checkpoint[KEY]["steps_per_epoch"] = self.steps_per_epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another supernet's checkpoint, and note what to go on with.

        Raises:
            CheckpointError: the checkpoint's supernet isn't this one, or its teacher, average or optimiser is of
                another kind.
        """
        check_description(checkpoint, digest_supernet(self.supernet))
        check_beside(checkpoint, self.state_dict())
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            former = checkpoint[KEY].get("optimizer", self.options.name)
            if former != self.options.name:
                raise CheckpointError(
                    f"the checkpoint's optimizer is {former}, this training's {self.options.name}; give "
                    f"--model.optimizer.name {former}, or begin a run of another --name"
                )
            self._former_steps = checkpoint[KEY].get("steps_per_epoch")
        self._random_states = checkpoint[KEY].get("random_states", [])
        settle_progress(checkpoint)


class _TeardownOnException(Callback):
    """Lightning leaves the module's `teardown` out where a fit raises."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        pl_module.teardown(str(trainer.state.fn))


def _scaler(trainer: Trainer) -> Any:
    """The loss scaler of fp16 training; None where there is none."""
    return getattr(trainer.precision_plugin, "scaler", None)
