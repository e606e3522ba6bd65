"""Position of a training in its curriculum."""

from __future__ import annotations

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from elastic.errors import CheckpointError, TrainingError
from trainers.methods.curriculum import Curriculum


class Progress:
    """The phase and the step that a training has come to.

    Attributes:
        former_steps: steps of an epoch in the checkpoint that is continued; None: none is, or it doesn't say.
    """

    def __init__(self, module: LightningModule, curriculum: Curriculum, accumulate: int) -> None:
        """Ask the module's trainer when asked.

        Args:
            module: what is trained.
            curriculum: its phases.
            accumulate: batches per optimiser step.
        """
        self.module = module
        self.curriculum = curriculum
        self.accumulate = accumulate
        self.former_steps: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch.

        Raises:
            TrainingError: the data has no length.
            CheckpointError: the checkpoint that is continued counted others.
        """
        batches = self.module.trainer.num_training_batches
        if batches == float("inf"):
            raise TrainingError(
                "the training data has no length; say how many batches an epoch has (--trainer.limit_train_batches)"
            )
        steps = max(-(-int(batches) // self.accumulate), 1)
        if self.former_steps not in (None, steps):
            raise CheckpointError(
                f"the checkpoint's epochs have {self.former_steps} steps, this training's {steps}: phases would be "
                "misplaced. Give the data, batch_size, step.accumulate, limit_train_batches and devices as when it was "
                "made (see config.yaml in the run's folder), or begin a run of another --name"
            )
        return steps

    @property
    def epoch(self) -> float:
        """Epochs before the next step, with fractions."""
        return self.module.global_step / self.steps_per_epoch

    @property
    def place(self) -> tuple[int, int]:
        """The index of the next step's phase, and the step's number within it."""
        return self.curriculum.at(self.module.global_step, self.steps_per_epoch)

    @property
    def phase(self) -> int:
        """The index of the next step's phase."""
        return self.place[0]

    @property
    def trained_phase(self) -> int:
        """The index of the last step's phase; outside a fit, that of the last phase."""
        if self.module.trainer.state.fn != TrainerFn.FITTING:
            return len(self.curriculum.phases) - 1
        return self.curriculum.at(max(self.module.global_step - 1, 0), self.steps_per_epoch)[0]
