"""The Lightning module of every training method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from elastic import Arch, SearchSpace
from elastic.building import SupernetSource
from elastic.errors import TrainingError
from elastic.storage import digest_supernet
from trainers.checkpoints import KEY, check_description, describe, settle_progress
from trainers.curriculum import Curriculum, Phase
from trainers.distillers import Distiller, InPlaceDistiller
from trainers.gradients import average_over_ranks, clip, fill_missing
from trainers.optimizers import OptimizerOptions
from trainers.randomness import random_states, restore_random_states
from trainers.samplers import Sampler, SandwichSampler
from trainers.validation import Candidate, Result, ValidationOptions, named_archs

# defaults, all of them immutable
_CURRICULUM, _OPTIMIZER, _VALIDATION = Curriculum(), OptimizerOptions(), ValidationOptions()
_SAMPLER, _DISTILLER = SandwichSampler(), InPlaceDistiller()

Batch = tuple[Tensor, Tensor]
"""Images `(N, C, H, W)` and labels int64 `(N,)`."""


class SupernetModule(LightningModule):
    """Trains a supernet: each step several subnets, one backward pass each, one optimiser step on the sum.

    Attributes:
        supernet: what is trained.
        results: what the last validation or test found, one entry per subnet.
    """

    def __init__(
        self,
        supernet: SupernetSource,
        curriculum: Curriculum = _CURRICULUM,
        sampler: Sampler = _SAMPLER,
        distiller: Distiller = _DISTILLER,
        optimizer: OptimizerOptions = _OPTIMIZER,
        validation: ValidationOptions = _VALIDATION,
        seed: int = 0,
    ) -> None:
        """Build the supernet.

        Args:
            supernet: the model's name and what is elastic of it.
            curriculum: what is trained when, and at which learning rate.
            sampler: which subnets each step trains.
            distiller: what they are pulled to.
            optimizer: how gradients become updates.
            validation: which subnets are validated, and how.
            seed: of the sampler and of the validated middles.

        Raises:
            RecipeError: no such model, or no recipe for it.
            ArchError: a phase that asks for choices that the supernet doesn't have.
        """
        super().__init__()
        self.automatic_optimization = False
        self.source = supernet
        self.supernet = supernet.build()
        self.curriculum = curriculum
        self.sampler = sampler
        self.distiller = distiller
        self.options = optimizer
        self.validation = validation
        self.seed = seed
        self.results: list[Result] = []
        self._candidates: list[Candidate] = []
        self._in_place = ExitStack()
        self._random_states: list[dict[str, Tensor]] = []
        self._spaces: dict[str, SearchSpace] = {}
        for phase in curriculum.phases:
            self._spaces[phase.name] = phase.narrow(self.supernet.space)

    # --- where in the curriculum ----------------------------------------------------------------------------

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch.

        Raises:
            TrainingError: the data has no length.
        """
        batches = self.trainer.num_training_batches
        if batches == float("inf"):
            raise TrainingError(
                "the training data has no length; say how many batches an epoch has (--trainer.limit_train_batches)"
            )
        return max(int(batches), 1)

    @property
    def phase(self) -> Phase:
        """The phase that the next step belongs to."""
        return self._place()[0]

    @property
    def space(self) -> SearchSpace:
        """What the current phase trains."""
        return self._spaces[self.phase.name]

    def _place(self) -> tuple[Phase, int]:
        return self.curriculum.at(self.global_step, self.steps_per_epoch)

    def step_archs(self) -> Iterator[Arch]:
        """The subnets that the next step trains, in order."""
        space, step = self.space, self.global_step
        for k in range(self.sampler.subnets_per_step):
            yield self.sampler.sample(space, self.seed, step, k)

    # --- training -------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """One optimiser; its learning rate is set at every step, as a pure function of the step."""
        return self.options.build(self.supernet.model, self.curriculum.phases[0].learning_rate)

    def on_fit_start(self) -> None:
        """Train in place; without DDP's wrapper, which has given all ranks the same weights when it was made.

        Its reducer wants one backward pass a step; `average_over_ranks` reduces once after all of them.
        """
        self._in_place.enter_context(self.supernet.training_in_place())
        if isinstance(self.trainer.strategy.model, DistributedDataParallel):
            self.trainer.strategy.model = self

    def on_train_start(self) -> None:
        """Training mode for all, and the random numbers that were to be drawn next when the checkpoint was made."""
        self.supernet.train()
        restore_random_states(self._random_states, self.global_rank, self.device)
        self._random_states = []

    def teardown(self, stage: str) -> None:
        """The supernet is as it was before the fit."""
        self._in_place.close()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One optimiser step on the summed gradients of the step's subnets.

        Raises:
            TrainingError: a batch of a wrong shape, or a loss that isn't finite; nothing is updated then.
        """
        images, labels = batch
        self._check(images, labels)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        phase, place = self._place()
        rate = phase.rate(place, self.steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=False)
        losses = self.accumulate(images, labels, list(self.step_archs()))
        parameters = list(self.supernet.parameters())
        fill_missing(parameters)
        average_over_ranks(parameters)
        clip(parameters, self.options.clip_value, self.options.clip_norm)
        optimizer.step()
        self.log("train/loss", losses.mean(), prog_bar=True)
        self.log("train/loss_first", losses[0])
        self.log("train/learning_rate", rate)

    def accumulate(self, images: Tensor, labels: Tensor, archs: list[Arch]) -> Tensor:
        """Add the gradients of these subnets' losses to the parameters', one backward pass each.

        Args:
            images: `(N, C, H, W)`.
            labels: int64 `(N,)`.
            archs: the subnets; those after the phase's largest have its logits as their teacher.

        Returns:
            The losses, detached, `(len(archs),)`.

        Raises:
            TrainingError: a loss isn't finite.
        """
        teacher, losses, largest = None, [], self.space.largest
        for arch in archs:
            with self.supernet.active(arch):
                logits: Tensor = self.supernet(images)
                loss = self.distiller.loss(logits, labels, teacher)
                self.manual_backward(loss)
            losses.append(loss.detach())
            if arch == largest:
                teacher = logits.detach()
        stacked = torch.stack(losses)
        finite = stacked.isfinite().tolist()  # the step's only wait for the device
        if not all(finite):
            self._refuse(stacked, archs, finite.index(False))
        return stacked

    def _refuse(self, losses: Tensor, archs: list[Arch], k: int) -> None:
        dims = list(archs[k].items())
        shown = ", ".join(f"{dim}={value}" for dim, value in dims[:4]) + (", …" if len(dims) > 4 else "")
        raise TrainingError(
            f"step {self.global_step}: the loss of subnet {archs[k].id} ({shown}; number {k + 1} of the step's "
            f"{len(archs)}) is {float(losses[k])}; nothing was updated or saved since the last checkpoint. "
            "Lower the learning rate, lengthen the warm-up, or clip gradients (--model.optimizer.clip_norm)"
        )

    def _check(self, images: Any, labels: Any) -> None:
        wanted = self.supernet.input_shape(self.supernet.space.largest)
        if not isinstance(images, Tensor) or tuple(images.shape[1:]) != wanted:
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise TrainingError(
                f"a batch of inputs is {given}; {self.source.model} takes (N, {', '.join(map(str, wanted))}). "
                "Set the data's size and channels, or the supernet's input_size"
            )
        if not isinstance(labels, Tensor) or labels.shape != images.shape[:1] or labels.is_floating_point():
            given = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise TrainingError(f"a batch of {len(images)} images has labels {given}; wanted int64 ({len(images)},)")
        classes = int(self.supernet.model.num_classes)  # type: ignore[arg-type]
        if self.global_step == 0 and int(labels.max()) >= classes:  # once: it waits for the device
            raise TrainingError(f"the data has label {int(labels.max())}; {self.source.model} has {classes} classes")

    def on_train_epoch_start(self) -> None:
        """Training mode for all, whatever validation left."""
        self.supernet.train()

    # --- validation and test --------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Cut the named subnets out and re-estimate their BatchNorm statistics."""
        space = self.supernet.space
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            last = max(self.global_step - 1, 0)  # the phase that has just been trained
            space = self._spaces[self.curriculum.at(last, self.steps_per_epoch)[0].name]
        named = named_archs(space, self.validation.middles, self.seed)
        self._candidates = [Candidate(name, arch, self.supernet, self.device) for name, arch in named.items()]
        for candidate in self._candidates:
            candidate.recalibrate(self._calibration_batches())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Every named subnet on one batch."""
        images, labels = batch
        self._check(images, labels)
        for candidate in self._candidates:
            candidate.update(images, labels)

    def on_validation_epoch_end(self) -> None:
        """Log `val/<name>/accuracy` of each named subnet."""
        self._finish("val")

    def on_test_start(self) -> None:
        """As for validation."""
        self.on_validation_start()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As for validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log `test/<name>/accuracy` of each named subnet."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        self.results = sorted((candidate.result() for candidate in self._candidates), key=lambda result: result.macs)
        self._candidates = []
        for result in self.results:
            self.log(f"{stage}/{result.name}/accuracy", result.accuracy, sync_dist=True)  # the same on all ranks

    def _calibration_batches(self) -> Iterable[Tensor]:
        data = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "calibration_batches"):
            raise TrainingError(
                "validation re-estimates BatchNorm on training images, and the data has no calibration_batches(); "
                "pass the trainer a datamodule such as trainers.Digits"
            )
        batches: Iterator[Tensor] = iter(data.calibration_batches())  # type: ignore[union-attr]
        return (images.to(self.device) for images in islice(batches, self.validation.calibration_batches))

    # --- checkpoints ----------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the supernet is made from, in plain values: whoever reads the file can build it again."""
        checkpoint[KEY] = describe(self.source, self.supernet, self.phase.name)
        checkpoint[KEY]["random_states"] = random_states(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another supernet's checkpoint, and note what to go on with.

        Raises:
            CheckpointError: the checkpoint's supernet isn't this one.
        """
        check_description(checkpoint, digest_supernet(self.supernet))
        self._random_states = checkpoint[KEY].get("random_states", [])
        settle_progress(checkpoint)
