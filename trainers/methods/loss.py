"""The loss of a subnet: what every training loss offers, however it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from elastic import Arch, Supernet
from elastic.support.inputs import Inputs
from trainers.methods.adversary import Adversary
from trainers.methods.teacher_outputs import TeacherOutput


@dataclass(frozen=True)
class StepBatch:
    """One batch of an optimiser step.

    Attributes:
        inputs: images `(N, C, H, W)`, or what a tokenizer gives.
        labels: int64 `(N,)`; where images are mixed, probabilities, float `(N, classes)`; where the model predicts a
            number, numbers, float `(N,)`.
        adversary: attacks the images, for a loss that is trained under attack.
        epoch: where in the training the step is, counted from 0 with fractions.
        seed: of what is drawn for this batch; different on each rank.
    """

    inputs: Inputs
    labels: Tensor
    adversary: Adversary
    epoch: float
    seed: tuple[int, ...]


class StepLosses(ABC):
    """Runs the subnets of a step on one batch, one after the other, each while it is active."""

    @abstractmethod
    def loss(self, k: int, teacher: TeacherOutput | None) -> Tensor:
        """The loss of the active subnet, the step's `k`-th (from 0): a scalar.

        Args:
            k: which.
            teacher: the teacher's output; None where there is no teacher (yet), and for the subnet that is the teacher.
        """

    @abstractmethod
    def output(self, arch: Arch) -> TeacherOutput:
        """The output of the active subnet `arch`, whose loss has just been computed, for those that learn from it."""


class SubnetLoss(ABC):
    """Gives each subnet of a step its loss."""

    uses_teacher: ClassVar[bool] = True
    """True if it is given the teacher's output at all."""

    @property
    def learns_from_teacher(self) -> bool:
        """True if it makes no sense without a teacher."""
        return False

    @abstractmethod
    def on_batch(self, supernet: Supernet, batch: StepBatch) -> StepLosses:
        """Computes the losses of a step's subnets on one batch."""

    def check(self, inputs: Inputs) -> None:  # noqa: B027 - most losses take any inputs
        """Refuse inputs that the loss can't be computed on; may wait for the device.

        Raises:
            TrainingError: they are such inputs.
        """

    def stack(self, supernet: Supernet) -> str | None:
        """The path of the blocks whose outputs it compares with the teacher's; None where it compares none.

        Raises:
            TrainingError: the supernet has no such blocks.
        """
        return None

    def attacker(self, adversary: Adversary) -> Adversary | None:
        """The adversary that subnets are trained against; None: BatchNorm's statistics are those of plain images."""
        return None

    def seconds(self, passes: Sequence[float], adversary: Adversary) -> float:
        """Seconds of a step.

        Args:
            passes: seconds of a forward and a backward pass of each of the step's subnets, in order.
            adversary: that of the training.
        """
        return sum(passes)
