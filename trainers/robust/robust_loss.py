"""Robust losses: a subnet is trained on attacked images, its own or those that the step's subnets share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from elastic import Arch, Supernet
from elastic.support.inputs import Inputs, predict
from trainers.methods.adversary import Adversary, Objective, check_pixels, seeded, under_attack
from trainers.methods.loss import StepBatch, StepLosses, SubnetLoss
from trainers.methods.teacher_outputs import Answer, TeacherOutput

_PASSES = 2
"""Passes of most robust losses: on the images as they are, and on the attacked ones."""


class RobustLoss(SubnetLoss):
    """The loss of one subnet on one batch of images and their attacked versions.

    Attributes:
        attacks_teacher: whether an attack that a step's subnets share is made on the teacher, where that is a separate
            network; else on the step's first subnet.
    """

    attacks_teacher: ClassVar[bool] = True

    @abstractmethod
    def objective(self, student: Answer, images: Tensor, labels: Tensor, teacher: TeacherOutput | None) -> Objective:
        """The objective that the adversary maximises; the student's BatchNorm statistics stay as they are.

        Args:
            student: the network that is attacked.
            images: as they are, `(N, C, H, W)`.
            labels: int64 `(N,)`, or probabilities `(N, classes)`.
            teacher: the teacher's output; None where there is no teacher (yet), and for the subnet that is the teacher.
        """

    @abstractmethod
    def loss(
        self, student: Answer, images: Tensor, attacked: Tensor, labels: Tensor, teacher: TeacherOutput | None
    ) -> Tensor:
        """The loss: a scalar, averaged over the batch; arguments as above, and what the adversary made."""

    def on_batch(self, supernet: Supernet, batch: StepBatch) -> StepLosses:
        """An attack and the passes of `loss` for each subnet."""
        return AttackedLosses(supernet, batch, self)

    def check(self, inputs: Inputs) -> None:
        """Refuse what isn't images with pixels between 0 and 1."""
        check_pixels(inputs)

    def attacker(self, adversary: Adversary) -> Adversary | None:
        """The training's adversary."""
        return adversary

    def seconds(self, passes: Sequence[float], adversary: Adversary) -> float:
        """The passes of the loss, and those of the ascents."""
        attacked = passes[0] if adversary.shared else sum(passes)
        return _PASSES * sum(passes) + adversary.steps * attacked


class AttackedLosses(StepLosses):
    """The losses of a step's subnets on one batch of images, attacked."""

    def __init__(self, supernet: Supernet, batch: StepBatch, loss: RobustLoss) -> None:
        """Nothing is attacked yet."""
        assert isinstance(batch.inputs, Tensor)
        self.supernet = supernet
        self.robust = loss
        self.images, self.labels = batch.inputs, batch.labels
        self.adversary = batch.adversary
        self.share = batch.adversary.warm(batch.epoch)
        self.seed = batch.seed
        self._shared: Tensor | None = None

    def loss(self, k: int, teacher: TeacherOutput | None) -> Tensor:
        """The robust loss, on the subnet's own attacked images or on the shared ones."""
        student = partial(predict, self.supernet)
        if self._shared is not None:
            attacked = self._shared
        elif self.adversary.shared:
            victim = teacher.answer if teacher is not None and self.robust.attacks_teacher else student
            attacked = self._shared = self._attack(victim, teacher, k)
        else:
            attacked = self._attack(student, teacher, k)
        return self.robust.loss(student, self.images, attacked, self.labels, teacher)

    def _attack(self, victim: Answer, teacher: TeacherOutput | None, k: int) -> Tensor:
        with under_attack(self.supernet.model):
            objective = self.robust.objective(victim, self.images, self.labels, teacher)
            return self.adversary.perturb(self.images, objective, seeded(*self.seed, k), self.share)

    def output(self, arch: Arch) -> TeacherOutput:
        """The logits of the images as they are, and a function for those of others; no statistics move."""
        with torch.no_grad():
            return TeacherOutput(self._answer(arch, self.images), answer=partial(self._answer, arch))

    def _answer(self, arch: Arch, images: Tensor) -> Tensor:
        """In training mode, though no statistics move."""
        with self.supernet.active(arch), under_attack(self.supernet.model):
            return predict(self.supernet, images)
