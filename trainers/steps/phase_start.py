"""The start of a phase: teacher snapshot, sorting, fresh optimiser."""

from __future__ import annotations

from lightning.pytorch import LightningModule
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

import elastic
from elastic import Supernet
from trainers.batchnorm_settings import recalibration
from trainers.methods.adversary import Adversary
from trainers.methods.distillers import label_loss
from trainers.methods.plan import TrainingPlan
from trainers.steps.averages import averaged
from trainers.steps.extra_batches import calibration_batches, held_out_batches


class PhaseStart:
    """Takes the teacher's snapshot, sorts units, and resets the optimiser's state."""

    def __init__(
        self,
        module: LightningModule,
        plan: TrainingPlan,
        adversary: Adversary,
        teaching: nn.Module | None,
        average: AveragedModel | None,
        calibration: int,
    ) -> None:
        """Nothing is changed yet.

        Args:
            module: whose trainer has the data.
            plan: what each phase trains.
            adversary: that of the training.
            teaching: the teacher, where it is a separate network.
            average: the averaged weights, where they are averaged.
            calibration: batches that the snapshot's BatchNorm statistics are re-estimated on.
        """
        self.module = module
        self.plan = plan
        self.adversary = adversary
        self.teaching = teaching
        self.average = average
        self.calibration = calibration

    def enter(self, phase: int, optimizer: Optimizer) -> None:
        """Begin the phase with this index."""
        if self.teaching is not None and phase in self.plan.snapshots:
            self._take_snapshot(self.teaching, phase)
        kind = self.plan.curriculum.phases[phase].sort
        if kind is not None:
            trained = self.plan.spaces[phase - 1] if phase else None
            held_out = held_out_batches(self.module) if kind == "taylor" else None
            supernet = self.plan.supernet
            supernet.sort(elastic.importance(supernet, kind, held_out, label_loss), within=trained)
        if phase:
            optimizer.state.clear()
            if self.average is not None:
                self.average.n_averaged.zero_()  # sorted channels have other averages: begin anew

    def _take_snapshot(self, teaching: nn.Module, phase: int) -> None:
        """Give the teacher the supernet's weights."""
        trained = averaged(self.plan.supernet, self.average)
        if isinstance(teaching, Supernet):
            teaching.load_state_dict(trained.state_dict())
            return
        teaching.load_state_dict(trained.extract(trained.space.largest).state_dict())
        recalibrate = recalibration(self.plan.losses[phase - 1].attacker(self.adversary))
        recalibrate(teaching, calibration_batches(self.module, self.calibration))  # all subnets' statistics until now
